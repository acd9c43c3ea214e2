import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { endedWithin } from '../../src/rpc/abortable.ts'
import type { Book } from './auditor.ts'
import { readLedger } from './ledger.ts'
import type { FromMember, Settings, ToMember } from './member.ts'

/** Of the log, where somebody did not end. */
const LAST_LINES = 12

export type Role = 'sender' | 'server' | 'listener'

/** One operating-system process, from its start to its end, however that comes. */
export class Life {
  /** Resolves when it works, or has ended before. */
  readonly ready: Promise<void>
  /** Messages it has sent, and of those the ones that went well. */
  sent = { messages: 0, done: 0 }
  readonly #child: ChildProcess
  readonly #settings: Settings
  readonly #closed: Promise<void>
  #onStopped = () => {}
  #killedAt: number | undefined
  #isEnding = false
  #stderr = ''
  readonly #troubles: string[] = []

  constructor(program: string, settings: Settings, onReplyQueue: (queue: string) => void) {
    this.#settings = settings
    this.#child = fork(program, {
      execArgv: ['--expose-gc', '--enable-source-maps'],
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    // What it is told after it has died is seen by how it ends.
    this.#child.on('error', () => {})
    this.#child.stderr?.on('data', (bytes: Buffer) => {
      this.#stderr = `${this.#stderr}${bytes}`.slice(-4_000)
    })
    this.#closed = once(this.#child, 'close').then(([code, signal]) => this.#onClosed(code ?? signal))
    const isReady = new Promise<void>((resolve) => {
      this.#child.on('message', (message: FromMember) => {
        if (message.type === 'ready') resolve()
        else if (message.type === 'stopped') this.#onStopped()
        else if (message.type === 'sent') this.sent = message
        else onReplyQueue(message.queue)
      })
    })
    this.ready = Promise.race([isReady, this.#closed])
    this.#say({ type: 'begin', settings })
  }

  async kill(): Promise<void> {
    if (!this.#hasEnded) this.#killedAt = Date.now()
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  /** Sends nothing new; resolves when what it has begun has ended, or is found not to. */
  async stop(graceMs: number): Promise<void> {
    const stopped = new Promise<void>((resolve) => {
      this.#onStopped = resolve
    })
    this.#say({ type: 'stop' })
    if (await endedWithin(graceMs, Promise.race([stopped, this.#closed]))) return
    this.#troubles.push(`${this.#settings.life} still waits for something ${graceMs} ms after it sends nothing more`)
  }

  /** Ends in order, or is killed when it does not. */
  async end(graceMs: number): Promise<void> {
    if (this.#hasEnded) return
    this.#isEnding = true
    this.#say({ type: 'end' })
    if (await endedWithin(graceMs, this.#closed)) return
    this.#troubles.push(
      `${this.#settings.life} did not end within ${graceMs} ms; its log ends with ${this.#lastWords()}`,
    )
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  book(): Book {
    const { life, ledgerPath } = this.#settings
    const killed = this.#killedAt !== undefined && { killedAt: this.#killedAt }
    return { process: life, entries: readLedger(ledgerPath), troubles: this.#troubles, ...killed }
  }

  #lastWords(): string {
    return readFileSync(this.#settings.logPath, 'utf8').trimEnd().split('\n').slice(-LAST_LINES).join('\n')
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null
  }

  #say(message: ToMember): void {
    if (this.#child.connected) this.#child.send(message)
  }

  #onClosed(how: number | string): void {
    const isExpected = this.#killedAt !== undefined || (this.#isEnding && how === 0)
    if (!isExpected) this.#troubles.push(`${this.#settings.life} ended with ${how}: ${this.#stderr.trim()}`)
  }
}
