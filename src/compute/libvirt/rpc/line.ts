import { HypervisorUnavailable, type SevbusError, toSevbusError } from '../../../errors.ts'
import { abortable, pause } from '../../../rpc/abortable.ts'
import { Backoff } from '../../../rpc/backoff.ts'
import { type CallLimits, type Connection, NotSent } from './connection.ts'
import type { Args, ProcedureName, Result } from './procedures.ts'

export interface LineOptions {
  /** Opens a connection, and does all that must be done before anybody may use it. */
  readonly open: (signal: AbortSignal) => Promise<Connection>
  /** Calls go over a new connection from now on. */
  readonly onConnected: (connection: Connection) => void
  /** After a loss calls wait so long for the next connection: a restart of the daemon takes less. Then they fail at once. */
  readonly patienceMs: number
  /** A connection was lost, or cannot be opened, for a reason that was not told the last time. */
  readonly onTrouble: (trouble: SevbusError) => void
}

const WORSE_THAN_ANY = 1_000_000

/** A connection that comes back when it is lost, with pauses between the tries, until it is closed. */
export class Line {
  readonly #options: LineOptions
  readonly #stop = new AbortController()
  readonly #running: Promise<void>
  #connection: Connection | undefined
  #next = new NextConnection()
  #waiting = 0
  /** Why there is none, once that has lasted too long to wait for its end. */
  #trouble: SevbusError | undefined

  constructor(options: LineOptions) {
    this.#options = options
    this.#running = this.#run()
  }

  /** Calls that are under way or wait; without a connection more than with any. */
  get load(): number {
    return (this.#connection?.load ?? WORSE_THAN_ANY) + this.#waiting
  }

  /** Whether one more call would have to wait. */
  get isFull(): boolean {
    return this.#connection?.isFull ?? true
  }

  /** As Connection.call; what was not sent waits for the next connection. */
  async call<N extends ProcedureName>(name: N, args: Args<N>, { timeoutMs, signal }: CallLimits): Promise<Result<N>> {
    const deadline = performance.now() + timeoutMs
    const left = () => ({ timeoutMs: Math.max(Math.ceil(deadline - performance.now()), 1), signal })
    for (;;) {
      const connection = this.#connection ?? (await this.#nextConnection(left()))
      try {
        return await connection.call(name, args, left())
      } catch (error) {
        if (!(error instanceof NotSent)) throw error
      }
    }
  }

  async close(): Promise<void> {
    const reason = new HypervisorUnavailable('the connection to libvirt was closed here')
    this.#stop.abort(reason)
    this.#fail(reason)
    await this.#connection?.end(reason)
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const { patienceMs, onTrouble } = this.#options
    const backoff = new Backoff()
    let impatientAt = 0
    let told: string | undefined
    while (!signal.aborted) {
      const { reason, workedMs } = await this.#connectOnce(signal)
      if (signal.aborted) return
      if (workedMs !== undefined) impatientAt = performance.now() + patienceMs
      if (workedMs !== undefined || reason.message !== told) onTrouble(reason)
      told = reason.message
      if (performance.now() >= impatientAt) this.#fail(reason)
      await pause(backoff.nextMs(workedMs), signal)
    }
  }

  /** @returns the reason of its end, and how long it worked; undefined: it could not be opened */
  async #connectOnce(signal: AbortSignal): Promise<{ reason: SevbusError; workedMs: number | undefined }> {
    let connection: Connection
    try {
      connection = await this.#options.open(signal)
    } catch (error) {
      return { reason: toSevbusError(error), workedMs: undefined }
    }
    const since = performance.now()
    const reason = signal.aborted ? toSevbusError(signal.reason) : await this.#use(connection)
    connection.close(reason)
    return { reason, workedMs: performance.now() - since }
  }

  /** @returns why it is over */
  async #use(connection: Connection): Promise<SevbusError> {
    this.#connection = connection
    this.#trouble = undefined
    this.#next.resolve(connection)
    this.#next = new NextConnection()
    this.#options.onConnected(connection)
    return await new Promise((resolve) => {
      connection.onClose((reason) => {
        this.#connection = undefined
        resolve(reason)
      })
    })
  }

  #fail(trouble: SevbusError): void {
    this.#trouble = trouble
    this.#next.reject(trouble)
    this.#next = new NextConnection()
  }

  async #nextConnection({ timeoutMs, signal }: CallLimits): Promise<Connection> {
    if (this.#trouble !== undefined) throw this.#trouble
    const late = AbortSignal.timeout(timeoutMs)
    this.#waiting++
    try {
      return await abortable(this.#next.promise, signal === undefined ? late : AbortSignal.any([signal, late]))
    } catch (error) {
      if (error !== late.reason) throw error
      const fix = 'look whether libvirtd runs, and answers: systemctl status libvirtd virtqemud'
      throw new HypervisorUnavailable(`no connection to libvirt within ${timeoutMs} ms`, { timeout_ms: timeoutMs, fix })
    } finally {
      this.#waiting--
    }
  }
}

/** A promise that nobody has to wait for. */
class NextConnection {
  resolve!: (connection: Connection) => void
  reject!: (reason: SevbusError) => void
  readonly promise = new Promise<Connection>((resolve, reject) => {
    this.resolve = resolve
    this.reject = reject
  })

  constructor() {
    this.promise.catch(() => {})
  }
}
