import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { inject, vi } from 'vitest'
import { notRun } from '../servers/not-run.ts'
import { DISTRIBUTION_PYTHON, PYTHON_FLAGS } from '../servers/oslo-peers.ts'
import '../servers/provided-context.ts'

const END_MS = 10_000

/** What an exception in the peer says of itself. */
export interface PeerException {
  readonly class: string
  readonly module: string
  /** Names of its classes, its own first. */
  readonly bases: readonly string[]
  readonly text: string
  readonly kwargs?: unknown
  /** Of a RemoteError. */
  readonly exc_type?: string
  readonly value?: string
}

export type Outcome = { readonly result: unknown } | { readonly error: PeerException }
type PeerEvent = { readonly event: string; readonly [fact: string]: unknown }

/** False where the distribution's Python has no oslo.messaging; the summary of the run then says so. */
export function canRunPeers(): boolean {
  if (inject('osloPeers') !== undefined) return true
  const how = 'sudo apt-get install python3-oslo.messaging  (as root on Debian or Ubuntu the tests do this themselves)'
  notRun({ name: 'Python peers (test/interop)', why: `${DISTRIBUTION_PYTHON} has no oslo.messaging`, how })
  return false
}

/** A program of peers/ in a process of its own, which ends with this one: at the end of its standard input. */
export class PythonPeer {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (outcome: Outcome) => void>()
  readonly #events: PeerEvent[] = []
  #lastId = 0
  #errors = ''
  #ended = false

  private constructor(program: string) {
    const path = fileURLToPath(new URL(`peers/${program}`, import.meta.url))
    this.#child = spawn(DISTRIBUTION_PYTHON, [...PYTHON_FLAGS, path], { stdio: 'pipe' })
    let rest = ''
    this.#child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.#hear(JSON.parse(line))
    })
    this.#child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-20_000)
    })
    this.#child.on('close', () => {
      this.#ended = true
      const error = { class: 'PeerEnded', module: program, bases: [], text: this.#errors }
      for (const tell of this.#waiting.values()) tell({ error })
    })
    this.#child.stdin?.on('error', () => {})
  }

  /** Resolves when it takes commands. */
  static async start(program: `${string}.py`): Promise<PythonPeer> {
    const peer = new PythonPeer(program)
    await peer.eventually((events) => {
      if (peer.#ended) throw new Error(`${program} has ended:\n${peer.#errors}`)
      if (!events.some(({ event }) => event === 'ready')) throw new Error(`${program} does not start`)
    })
    return peer
  }

  /** Does it, and tells how that went. */
  try(command: string, facts: object = {}): Promise<Outcome> {
    const id = ++this.#lastId
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#child.stdin?.write(`${JSON.stringify({ ...facts, id, do: command })}\n`)
    })
  }

  /** The result. @throws Error with the traceback's last words */
  async do(command: string, facts: object = {}): Promise<unknown> {
    const outcome = await this.try(command, facts)
    if ('result' in outcome) return outcome.result
    throw new Error(`${outcome.error.class}: ${outcome.error.text}`)
  }

  /** Waits until what it has told fits. */
  async eventually<T>(look: (events: readonly PeerEvent[]) => T): Promise<T> {
    return await vi.waitFor(() => look(this.#events), { timeout: 20_000, interval: 20 })
  }

  /** SIGKILL, as the machine's power going. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async end(): Promise<void> {
    if (this.#ended) return
    this.#child.stdin?.end()
    const timer = setTimeout(() => this.kill(), END_MS)
    await new Promise((resolve) => this.#child.once('close', resolve))
    clearTimeout(timer)
  }

  #hear(line: PeerEvent | ({ readonly id: number } & Outcome)): void {
    if ('event' in line) return void this.#events.push(line as PeerEvent)
    const { id, ...outcome } = line as { readonly id: number } & Outcome
    this.#waiting.get(id)?.(outcome)
    this.#waiting.delete(id)
  }
}
