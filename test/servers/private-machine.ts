import type { ChildProcess } from 'node:child_process'
import { execFile } from 'node:child_process'
import { access, chmod, mkdir, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { ServerHome } from '../../src/servers/server-home.ts'

const run = promisify(execFile)
const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const START_TIMEOUT_MS = 30_000

/** Kinds of namespaces that the machine has for itself, as `unshare` and `nsenter` name them. */
const NAMESPACES = ['--mount', '--pid', '--net', '--uts', '--ipc'] as const

/** What stands in for folders of libvirt's and the system's: see the script. */
const FOLDERS = ['run', 'etc', 'lib', 'cache', 'log', 'dev']
/**
 * Makes the machine inside its namespaces, then stays as its first process. Nothing of this is seen outside; mounts and
 * processes end with the first process.
 */
const SCRIPT = join(import.meta.dirname, 'private-machine.sh')

export interface PrivateMachineOptions {
  /** Its host name. */
  readonly name: string
  /** Whether it has a `/dev/sev`, for the emulated secure processor. */
  readonly hasSevDevice?: boolean
  /** A folder below its own that stands in for `/usr/share/qemu/firmware`. */
  readonly descriptors?: string
}

export interface Process {
  readonly pid: number
  readonly parent: number
  readonly args: readonly string[]
}

/**
 * As much of a machine as libvirt needs for itself: namespaces with its own processes, devices, network, host name and
 * libvirt folders, all in one temporary folder. Several run side by side, and beside the machine's own libvirt, whose files
 * they do not see. When it is stopped, or this process dies, the kernel ends all that ran in it.
 */
export class PrivateMachine {
  readonly #home: ServerHome
  readonly #first: number
  readonly #namespace: string
  readonly #programs = new Set<ChildProcess>()

  private constructor(home: ServerHome, first: number, namespace: string) {
    this.#home = home
    this.#first = first
    this.#namespace = namespace
  }

  /** @param prepare writes into the folder what must be there from the start; what it gives comes back */
  static async start<T>(
    { name, hasSevDevice = false, descriptors = '' }: PrivateMachineOptions,
    prepare: (home: ServerHome) => Promise<T>,
  ): Promise<{ readonly machine: PrivateMachine; readonly prepared: T }> {
    const home = await ServerHome.create('machine')
    try {
      // QEMU runs as a user of its own and must come to its files.
      await chmod(home.folder, 0o711)
      for (const folder of FOLDERS) await mkdir(home.path(folder), { mode: 0o755 })
      const prepared = await prepare(home)
      const args = [
        ...privileges(),
        ...NAMESPACES,
        '--fork',
        '--kill-child',
        '--mount-proc',
        '--propagation',
        'private',
      ]
      const script = ['sh', SCRIPT, home.folder, name, hasSevDevice ? 'yes' : 'no', descriptors]
      // SIGKILL: nothing in it needs to be told, and the kernel then ends everything.
      const leader = home.start('machine', 'unshare', [...args, ...script], { endSignal: 'SIGKILL' })
      await home.until('machine', leader, () => exists(home.path('ready')), { timeoutMs: START_TIMEOUT_MS })
      const namespace = await readlink(`/proc/${leader.pid}/ns/pid_for_children`)
      const first = await firstIn(namespace)
      return { machine: new PrivateMachine(home, first, namespace), prepared }
    } catch (error) {
      await home.close(0)
      throw error
    }
  }

  get folder(): string {
    return this.#home.folder
  }

  path(...parts: string[]): string {
    return this.#home.path(...parts)
  }

  /** Starts a program inside that stays; what it prints goes to `<name>.out` in the folder. */
  spawn(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
    const variables = Object.entries({ PATH: SYSTEM_PATH, ...env }).map(([key, value]) => `${key}=${value}`)
    // The variables are for the program alone, not for nsenter: LD_PRELOAD is one.
    const child = this.#home.start(name, 'nsenter', [...this.#enter(), 'env', ...variables, ...command])
    this.#programs.add(child)
    return child
  }

  /** Signals a program that `spawn` started, and not the nsenter that waits for it. */
  async signal(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    for (const { pid, parent } of await this.processes()) if (parent === child.pid) signalIfThere(pid, signal)
  }

  /**
   * Ends a program that `spawn` started. Only the program is signalled: an orphan of nsenter would be left to whoever reaps
   * outside, which may take seconds.
   */
  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    await this.signal(child, 'SIGCONT')
    await this.signal(child, signal)
    while (!hasEnded(child)) await this.#pass(child)
    await this.#home.end(child, signal)
    this.#programs.delete(child)
  }

  /** Time passes, and nsenter, which stops with its program, goes on. */
  async #pass(...children: readonly ChildProcess[]): Promise<void> {
    for (const child of children) if (child.pid !== undefined && !hasEnded(child)) signalIfThere(child.pid, 'SIGCONT')
    await sleep(10)
  }

  until<T>(name: string, child: ChildProcess, probe: () => Promise<T | undefined>): Promise<T> {
    return this.#home.until(name, child, probe, { timeoutMs: START_TIMEOUT_MS })
  }

  /** Runs a program inside to its end. @returns what it prints @throws with what it prints when it fails */
  async run(program: string, ...args: readonly string[]): Promise<string> {
    const { stdout } = await run('nsenter', [...this.#enter(), program, ...args])
    return stdout
  }

  /** All that runs inside now. */
  async processes(): Promise<readonly Process[]> {
    return await processesIn(this.#namespace)
  }

  /** As a power failure: everything inside is gone at once. The folder stays, for `stop` to remove. */
  async crash(): Promise<void> {
    signalIfThere(this.#first, 'SIGKILL')
    while ((await this.processes()).length > 0) await this.#pass(...this.#programs)
  }

  async stop(): Promise<void> {
    await this.crash()
    await this.#home.close(0)
  }

  #enter(): readonly string[] {
    const user = process.getuid?.() === 0 ? [] : ['--user', '--preserve-credentials']
    return ['--target', String(this.#first), ...user, ...NAMESPACES, '--']
  }
}

/**
 * Why this user cannot have such a machine here; undefined: he can.
 */
export async function whyNoPrivateMachine(): Promise<string | undefined> {
  try {
    await run('unshare', [...privileges(), ...NAMESPACES, '--fork', '--kill-child', '--mount-proc', 'true'])
    return undefined
  } catch (error) {
    return `no namespaces for this user (${String(error).trim().split('\n').at(-1)})`
  }
}

/** An ordinary user is root in a user namespace of his own, where the system lets him. */
function privileges(): readonly string[] {
  return process.getuid?.() === 0 ? [] : ['--user', '--map-root-user']
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

async function firstIn(namespace: string): Promise<number> {
  for (const { pid } of await processesIn(namespace)) {
    const inner = /^NSpid:.*\t(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'))?.[1]
    if (inner === '1') return pid
  }
  throw new Error('the first process of the machine is not there')
}

async function processesIn(namespace: string): Promise<readonly Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(
    pids.map(async (pid) => {
      try {
        if ((await readlink(`/proc/${pid}/ns/pid`)) !== namespace) return []
        const [status, command] = await Promise.all(
          ['status', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8')),
        )
        const parent = Number(/^PPid:\t(\d+)$/m.exec(status ?? '')?.[1])
        return [{ pid: Number(pid), parent, args: (command ?? '').split('\0').slice(0, -1) }]
      } catch {
        return [] // it ended while we looked
      }
    }),
  )
  return found.flat()
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

async function exists(path: string): Promise<true | undefined> {
  return await access(path).then(
    () => true,
    () => undefined,
  )
}
