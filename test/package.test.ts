import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { promisify, stripVTControlCharacters } from 'node:util'
import { describe, expect, it } from 'vitest'
import { ERRORS_BY_CODE } from '../src/errors.ts'

const run = promisify(execFile)
const BUNDLE = 'dist/bundle'

/** The packages and modules of Node that a part of a worker loads with it, by all files that it imports. */
function loadedWith(part: string): ReadonlySet<string> {
  const name = readdirSync(BUNDLE).find((file) => file.startsWith(`${part}-`) && file.endsWith('.js'))
  const files = [name as string]
  const packages = new Set<string>()
  for (const file of files) {
    const text = readFileSync(`${BUNDLE}/${file}`, 'utf8')
    for (const [, imported = ''] of text.matchAll(/^(?:import|\} from|export)\b[^;]*?"([^"]+)";$/gm)) {
      if (!imported.startsWith('./')) packages.add(imported)
      else if (!files.includes(imported.slice(2))) files.push(imported.slice(2))
    }
  }
  return packages
}

describe('what is built to be run', () => {
  it('has each class once, whatever it is imported by', async () => {
    const [client, contracts] = await Promise.all([import('sevbus/client'), import('sevbus/contracts')])

    expect(client.SevbusError).toBe(contracts.SevbusError)
  })

  it('throws errors that have the names of the sources, by which Python peers know them', async () => {
    const built = (await import('sevbus/contracts')).ERRORS_BY_CODE

    const names = (errors: typeof built) => [...errors].map(([code, type]) => [code, type.name, new type('text').name])
    expect(names(built)).toEqual(names(ERRORS_BY_CODE))
  })

  it('loads in each of its files, also in those that only some command asks for', async () => {
    const files = readdirSync(BUNDLE).filter((file) => file.endsWith('.js') && file !== 'main.js')
    const program = `for (const file of ${JSON.stringify(files)}) await import(\`./${BUNDLE}/\${file}\`)`

    const { stdout, stderr } = await run(process.execPath, ['--input-type=module', '--eval', program])
    expect(files).toEqual(expect.arrayContaining(['client.js', 'contracts.js', 'notifications.js', 'scheduler.js']))
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' })
  })

  it('loads nothing of databases in a compute worker', () => {
    const databases = (part: string) => [...loadedWith(part)].filter((name) => /^pg$|pglite/.test(name))

    expect(databases('work')).toEqual([])
    expect(databases('compute-worker')).toEqual([])
    expect(databases('open-database')).toEqual(['pg'])
  })

  it('names the sources in its stack traces', async () => {
    const refused = run(process.execPath, ['bin/sevbus.js', '--debug', '--timeout', 'long', 'list'])

    const told = await refused.then(
      () => '',
      (error: { readonly stderr: string }) => error.stderr,
    )
    const stderr = stripVTControlCharacters(told)
    expect(stderr).toMatch(/^InvalidArguments: --timeout is "long"/m)
    expect(stderr).toMatch(/^ {4}at timeoutOf \(\/.*\/src\/cli\/session\.ts:\d+:\d+\)$/m)
    expect(stderr).not.toContain(BUNDLE)
  })
})
