import { spawn } from 'node:child_process'
import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { DiskCreationFailed, HostCapabilityMissing } from '../errors.ts'

/** Programs of the host that make disks, with the package of Debian and Fedora that has each. */
const PACKAGES = {
  'qemu-img': 'qemu-utils (Debian) or qemu-img (Fedora)',
  prlimit: 'util-linux',
  cp: 'coreutils',
  mkswap: 'util-linux',
  'mkfs.ext4': 'e2fsprogs',
  'mkfs.vfat': 'dosfstools',
  mcopy: 'mtools',
  genisoimage: 'genisoimage',
  mkisofs: 'genisoimage',
  xorrisofs: 'xorriso',
} as const
export type Tool = keyof typeof PACKAGES

/** What is kept of what a program says: its last words tell what went wrong. */
const MAX_OUTPUT_BYTES = 1024 * 1024
const MAX_QUOTED = 1000

export interface ToolOptions {
  /** Where programs are looked for, as in `PATH`. */
  readonly path: string
  readonly timeoutMs: number
  /** For programs that read what strangers wrote. */
  readonly limits?: { readonly addressSpaceBytes?: number; readonly cpuSeconds: number }
}

/** What to install to have it. */
export function packageOf(tool: Tool): string {
  return PACKAGES[tool]
}

/** `PATH` of programs: the worker's own environment, with its passwords, is not theirs. */
export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/**
 * Runs a program to its end, told to stop or too slow included: when this returns it is gone, and writes nothing more.
 *
 * @returns what it wrote to standard output
 * @throws HostCapabilityMissing where it is not installed; DiskCreationFailed; the signal's reason
 */
export async function runTool(
  tool: Tool,
  args: readonly string[],
  options: ToolOptions,
  signal: AbortSignal,
): Promise<string> {
  const { limits, timeoutMs } = options
  const program = await toolOnPath([tool], options.path)
  if (limits === undefined) return await finished(tool, program.file, args, timeoutMs, options, signal)
  const prlimit = await toolOnPath(['prlimit'], options.path)
  const { addressSpaceBytes, cpuSeconds } = limits
  const bounds = [`--cpu=${cpuSeconds}`, ...(addressSpaceBytes === undefined ? [] : [`--as=${addressSpaceBytes}`])]
  return await finished(tool, prlimit.file, [...bounds, program.file, ...args], timeoutMs, options, signal)
}

/**
 * The first of them that is installed; any will do.
 * @throws HostCapabilityMissing naming the package
 */
export async function toolOnPath(
  tools: readonly [Tool, ...Tool[]],
  path: string,
): Promise<{ tool: Tool; file: string }> {
  for (const tool of tools) {
    for (const folder of path.split(delimiter).filter((each) => each !== '')) {
      const file = join(folder, tool)
      if (await isExecutable(file)) return { tool, file }
    }
  }
  const fix = `install ${packageOf(tools[0])}`
  throw new HostCapabilityMissing(`this host has no ${tools.join(' or ')} in ${path}; ${fix}`, {
    tools: [...tools],
    path,
    fix,
  })
}

function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  )
}

async function finished(
  tool: Tool,
  file: string,
  args: readonly string[],
  timeoutMs: number,
  { path }: ToolOptions,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted()
  const child = spawn(file, [...args], { env: { PATH: path, LC_ALL: 'C' }, stdio: ['ignore', 'pipe', 'pipe'] })
  const kill = () => child.kill('SIGKILL')
  const timer = setTimeout(kill, timeoutMs)
  signal.addEventListener('abort', kill, { once: true })
  const [out, err] = [new LastWords(), new LastWords()]
  child.stdout.on('data', (chunk: Buffer) => out.add(chunk))
  child.stderr.on('data', (chunk: Buffer) => err.add(chunk))
  try {
    const { code, ended } = await new Promise<{ code: number | null; ended: string | null }>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (exitCode, by) => resolve({ code: exitCode, ended: by }))
    })
    if (code === 0) return out.text()
    signal.throwIfAborted()
    const how = ended === null ? `exit code ${code}` : `${ended}, after ${timeoutMs / 1000} s or by a limit`
    const words = err.text().trim().slice(-MAX_QUOTED)
    throw new DiskCreationFailed(`${tool} failed (${how}): ${words || 'it says nothing'}`, {
      tool,
      exit_code: code,
      output: words,
    })
  } finally {
    clearTimeout(timer)
    signal.removeEventListener('abort', kill)
  }
}

class LastWords {
  #chunks: Buffer[] = []
  #bytes = 0

  add(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes - (this.#chunks[0]?.length ?? 0) >= MAX_OUTPUT_BYTES) {
      this.#bytes -= this.#chunks.shift()?.length ?? 0
    }
  }

  text(): string {
    return Buffer.concat(this.#chunks).toString('utf8')
  }
}
