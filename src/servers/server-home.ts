import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, closeSync, openSync } from 'node:fs'
import { chown, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startWatchdog, type Watchdog } from './watchdog.ts'

/** RabbitMQ takes a second to end, PostgreSQL less; a busy machine several times that. */
const END_GRACE_MS = 10_000
const LOG_LINES_SHOWN = 20

/** The user that a home and its programs belong to, when it is not the one who runs this process. */
export interface Owner {
  readonly uid: number
  readonly gid: number
}

export interface HomeOptions {
  readonly owner?: Owner | undefined
  /** How long a program that is asked to end may take before it is killed. */
  readonly endGraceMs?: number
}

export interface ProgramOptions {
  /** The whole environment but PATH: nothing of the caller's own configuration reaches the program. */
  readonly env?: Readonly<Record<string, string>>
  /** What makes the program end quickly and tidily. */
  readonly endSignal?: NodeJS.Signals
}

/**
 * A temporary folder and the programs that live in it. `close` ends the programs, newest first, and removes the folder;
 * a watchdog does the same if this process dies before.
 */
export class ServerHome {
  readonly folder: string
  readonly #owner: Owner | undefined
  readonly #endGraceMs: number
  readonly #watchdog: Watchdog
  readonly #programs: { child: ChildProcess; endSignal: NodeJS.Signals }[] = []
  #closed: Promise<void> | undefined

  private constructor(folder: string, { owner, endGraceMs = END_GRACE_MS }: HomeOptions) {
    this.folder = folder
    this.#owner = owner
    this.#endGraceMs = endGraceMs
    this.#watchdog = startWatchdog(folder)
  }

  static async create(name: string, options: HomeOptions = {}): Promise<ServerHome> {
    const folder = await mkdtemp(join(tmpdir(), `sevbus-${name}-`))
    const { owner } = options
    if (owner) await chown(folder, owner.uid, owner.gid)
    return new ServerHome(folder, options)
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts)
  }

  /** Starts a program that stays; what it prints goes to `<name>.out` in the folder. */
  start(name: string, program: string, args: readonly string[], options: ProgramOptions = {}): ChildProcess {
    const { env = {}, endSignal = 'SIGTERM' } = options
    const outPath = this.path(`${name}.out`)
    const out = openSync(outPath, 'a', 0o600)
    if (this.#owner) chownSync(outPath, this.#owner.uid, this.#owner.gid)
    const child = spawn(program, args, {
      cwd: this.folder,
      env: { PATH: process.env.PATH, LANG: 'C.UTF-8', HOME: this.folder, ...env },
      stdio: ['ignore', out, out],
      detached: true, // a process group of its own, so that its children can be ended with it
      ...this.#owner,
    })
    closeSync(out)
    child.on('error', () => undefined) // a program that cannot be executed has no pid and no exit: see hasEnded
    if (child.pid !== undefined) this.#watchdog.watchGroup(child.pid, endSignal)
    this.#programs.push({ child, endSignal })
    child.unref()
    return child
  }

  /** Ends one program and what it has started; `close` does so with all. */
  async end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    await endGroup(child, signal, this.#endGraceMs)
    const index = this.#programs.findIndex((program) => program.child === child)
    if (index !== -1) this.#programs.splice(index, 1)
  }

  /** Runs a program to its end. @throws with the tail of what it printed, unless it exits with 0 */
  async run(name: string, program: string, args: readonly string[], options: ProgramOptions = {}): Promise<void> {
    const child = this.start(name, program, args, options)
    child.ref()
    if (!hasEnded(child)) await once(child, 'exit')
    if (child.exitCode !== 0) throw new Error(`${program} failed\n${await this.tail(name)}`)
  }

  /**
   * Asks `probe` until it has an answer.
   * @throws when the program ends before, or after `timeoutMs`, with the tail of what it printed
   */
  async until<T>(
    name: string,
    child: ChildProcess,
    probe: () => Promise<T | undefined>,
    { timeoutMs, signal }: { timeoutMs: number; signal?: AbortSignal | undefined },
  ): Promise<T> {
    const deadline = Date.now() + timeoutMs
    for (;;) {
      signal?.throwIfAborted()
      const answer = await probe()
      if (answer !== undefined) return answer
      if (hasEnded(child)) throw new Error(`${name} ended while starting\n${await this.tail(name)}`)
      if (Date.now() > deadline) throw new Error(`${name} did not answer in time\n${await this.tail(name)}`)
      await sleep(100)
    }
  }

  /** @param graceMs what each program may take; 0 for one that was interrupted while starting, and hears nothing then */
  close(graceMs = this.#endGraceMs): Promise<void> {
    this.#closed ??= this.#close(graceMs)
    return this.#closed
  }

  async tail(name: string): Promise<string> {
    const text = await readFile(this.path(`${name}.out`), 'utf8').catch(() => '')
    return text.trimEnd().split('\n').slice(-LOG_LINES_SHOWN).join('\n')
  }

  async #close(graceMs: number): Promise<void> {
    for (const { child, endSignal } of this.#programs.toReversed()) await endGroup(child, endSignal, graceMs)
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5 })
    await this.#watchdog.dismiss()
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null
}

async function endGroup(leader: ChildProcess, endSignal: NodeJS.Signals, graceMs: number): Promise<void> {
  if (leader.pid === undefined) return
  signalGroup(leader.pid, endSignal)
  const deadline = Date.now() + graceMs
  while (signalGroup(leader.pid, 0)) {
    if (Date.now() > deadline) signalGroup(leader.pid, 'SIGKILL')
    await sleep(25)
  }
}

/** False when nobody is left in the group. */
function signalGroup(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-group, signal)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false
    throw error
  }
}
