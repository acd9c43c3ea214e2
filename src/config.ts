import { existsSync, readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { parse as parseToml } from 'smol-toml'
import { z } from 'zod'
import { configurationProblems, shown, unwrapped } from './config-problems.ts'
import { type Config, ConfigSchema, type ParsedConfig, SECRET_KEYS } from './config-schema.ts'
import { InvalidConfiguration } from './errors.ts'
import { HostName } from './objects/host-report.ts'

export type { Config } from './config-schema.ts'

/** Variables of the test suite and of this module; any other SEVBUS_… is a mistake worth telling. */
const OTHER_VARIABLES = new Set(['SEVBUS_CONFIG'])

export interface ConfigSources {
  /** Must exist when given; else SEVBUS_CONFIG names it. */
  readonly file?: string | undefined
  /** The first of these that exists is taken when no file is named. */
  readonly fallbacks?: readonly string[]
  /** Over all others: the name of the host, as the command line gives it. */
  readonly host?: string | undefined
  readonly env?: NodeJS.ProcessEnv
}

/**
 * Reads the configuration once: the file, then the environment over it. The only reader of the environment.
 *
 * @throws InvalidConfiguration naming every wrong key at once, where it stands, and the fix
 */
export function loadConfig({ file: named, fallbacks = [], host, env = process.env }: ConfigSources = {}): Config {
  const file = named ?? env.SEVBUS_CONFIG ?? fallbacks.find((path) => existsSync(path))
  const values = file === undefined ? {} : readToml(file)
  const problems: string[] = []
  overlayEnvironment(values, env, problems)
  if (host !== undefined) {
    const problem = problemOfHostName(host)
    if (problem === undefined) setValue(values, { section: 'compute', name: 'host', convert: (text) => text }, host)
    else problems.push(`--host: ${problem}${shown(host)}`)
  }
  const parsed = ConfigSchema.safeParse(values)
  if (!parsed.success) problems.push(...configurationProblems(ConfigSchema, parsed.error, values))
  if (parsed.success && problems.length === 0) return withDefaults(parsed.data)
  const where = file === undefined ? 'the environment' : `${file} and the environment`
  throw new InvalidConfiguration(
    `${where}: ${problems.length} problem(s)\n${problems.map((p) => `  ${p}`).join('\n')}`,
    {
      problems,
      fix: 'correct every line above; docs/configuration.md lists all keys',
    },
  )
}

function withDefaults(config: ParsedConfig): Config {
  const host = config.compute.host ?? hostname()
  const folder = config.compute.state_folder ?? join('.sevbus', 'compute', host)
  return { ...config, compute: { ...config.compute, host, state_folder: folder } }
}

function problemOfHostName(name: string): string | undefined {
  return HostName.safeParse(name)
    .error?.issues.map(({ message }) => message)
    .join('; ')
}

/**
 * A worker's name on the bus: the one given, or one made from the machine's, which need not be fit for it.
 * @throws InvalidConfiguration
 */
export function workerName(name: string): string {
  const problem = problemOfHostName(name)
  if (problem === undefined) return name
  throw new InvalidConfiguration(`${JSON.stringify(name)} cannot be a worker's name: ${problem}`, {
    field: 'compute.host',
    fix: 'give the worker a name with --host, or a compute worker with compute.host (SEVBUS_COMPUTE_HOST)',
  })
}

type Values = Record<string, Record<string, unknown>>

function readToml(file: string): Values {
  try {
    return parseToml(readFileSync(file, 'utf8')) as Values
  } catch (error) {
    // The parser quotes the lines around its place: they may hold a password.
    const [reason] = (error as Error).message.split('\n')
    const { line, column } = error as { readonly line?: number; readonly column?: number }
    const place = line === undefined ? '' : `, line ${line}, column ${column}`
    throw new InvalidConfiguration(`${file}${place} cannot be read: ${reason}`, {
      file,
      fix: 'give an existing TOML file with --config or SEVBUS_CONFIG',
    })
  }
}

function overlayEnvironment(values: Values, env: NodeJS.ProcessEnv, problems: string[]): void {
  const known = new Map(environmentKeys().map((key) => [key.variable, key]))
  for (const [variable, text] of Object.entries(env)) {
    if (text === undefined || !isSetting(variable)) continue
    const key = known.get(variable)
    const secretFrom = known.get(variable.replace(/_FILE$/, ''))
    try {
      if (key !== undefined) setValue(values, key, text)
      else if (secretFrom?.secret) setValue(values, secretFrom, readSecret(text))
      else problems.push(`${variable}: there is no such setting; unset it, or see docs/configuration.md`)
    } catch (error) {
      problems.push(`${variable}: ${(error as Error).message}`)
    }
  }
}

function isSetting(variable: string): boolean {
  return variable.startsWith('SEVBUS_') && !variable.startsWith('SEVBUS_TEST_') && !OTHER_VARIABLES.has(variable)
}

/** Without the name it was given: that may be the secret itself, put where its file's name belongs. */
function readSecret(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    const { code = 'unreadable' } = error as NodeJS.ErrnoException
    throw new Error(`the file it names cannot be read (${code}); write the name of a file that holds the value`)
  }
}

/** What stands in a section's place and is none stays, for the check of the whole to refuse. */
function setValue(
  values: Values,
  { section, name, convert }: Pick<EnvironmentKey, 'section' | 'name' | 'convert'>,
  text: string,
): void {
  const { [section]: given = {} } = values
  if (typeof given === 'object' && !Array.isArray(given)) values[section] = { ...given, [name]: convert(text) }
}

interface EnvironmentKey {
  readonly variable: string
  readonly section: string
  readonly name: string
  readonly secret: boolean
  readonly convert: (text: string) => unknown
}

/** Every scalar key as a variable; tables (flavors, images) are for the file. */
export function environmentKeys(): readonly EnvironmentKey[] {
  return Object.entries(ConfigSchema.shape).flatMap(([section, schema]) => {
    const inner = unwrapped(schema)
    if (!(inner instanceof z.ZodObject)) return []
    return Object.entries(inner.shape as Record<string, z.ZodType>).map(([name, value]) => ({
      variable: `SEVBUS_${section}_${name}`.toUpperCase(),
      section,
      name,
      secret: SECRET_KEYS.includes(`${section}.${name}`),
      convert: converterFor(value),
    }))
  })
}

/** As oslo.config reads them. */
const TRUTH: Readonly<Record<string, boolean>> = {
  ...{ true: true, yes: true, on: true, 1: true },
  ...{ false: false, no: false, off: false, 0: false },
}

/** The environment has only text: numbers, lists and truth values are recognised by what the key takes. */
function converterFor(schema: z.ZodType): (text: string) => unknown {
  const kind = unwrapped(schema)
  if (kind instanceof z.ZodNumber)
    return (text) => (text.trim() !== '' && !Number.isNaN(Number(text)) ? Number(text) : text)
  if (kind instanceof z.ZodBoolean) return (text) => TRUTH[text.trim().toLowerCase()] ?? text
  if (kind instanceof z.ZodArray)
    return (text) =>
      text
        .split(',')
        .map((item) => item.trim())
        .filter((item) => item !== '')
  return (text) => text
}
