import type { Duplex } from 'node:stream'
import { HypervisorTimeout, HypervisorUnavailable, InvalidLibvirtMessage, type SevbusError } from '../../../errors.ts'
import { nothing } from './codec.ts'
import { decodePayload, encodeFrame, type Frame, FrameSplitter, type Header, MESSAGE_TYPE, STATUS } from './frame.ts'
import { KEEPALIVE, Keepalive, type KeepaliveOptions } from './keepalive.ts'
import { type Args, PROCEDURES, type Procedure, type ProcedureName, REMOTE, type Result } from './procedures.ts'
import { libvirtError, remoteError } from './remote-error.ts'

/** How long the caller waits; what the daemon has begun goes on there. */
export interface CallLimits {
  readonly timeoutMs: number
  readonly signal?: AbortSignal | undefined
}

export interface ConnectionOptions {
  /** Calls that the daemon has at a time; others wait here. */
  readonly maxInFlight: number
  /** How long all of these may be ones that were given up, and none be answered: then nothing ever would be. */
  readonly stuckMs: number
  /** What the daemon says without being asked. */
  readonly onMessage: (message: Frame) => void
}

/** A call that waits for its turn, or for its reply. */
interface Call {
  readonly name: string
  readonly serial: number
  readonly bytes: Buffer
  /** Nobody waits for it any more, but the daemon may still be at it. */
  givenUp: boolean
  readonly onReply: (reply: Frame) => void
  readonly onLost: (loss: HypervisorUnavailable) => void
}

/** The connection ended before the call was sent: it was not done, and may be sent by another one. */
export class NotSent extends HypervisorUnavailable {}

const GOODBYE_TIMEOUT_MS = 1_000

/** One connection: calls by their serials, messages that nobody asked for, signs of life. It ends once, and says why. */
export class Connection {
  readonly #socket: Duplex
  readonly #options: ConnectionOptions
  readonly #inFlight = new Map<number, Call>()
  readonly #waiting: Call[] = []
  readonly #onClose: ((reason: SevbusError) => void)[] = []
  #reason: SevbusError | undefined
  #beat: NodeJS.Timeout | undefined
  #stuck: NodeJS.Timeout | undefined
  #keepalive: Keepalive | undefined
  #serial = 0

  constructor(socket: Duplex, options: ConnectionOptions) {
    this.#socket = socket
    this.#options = options
    const splitter = new FrameSplitter()
    socket.on('data', (chunk: Buffer) => this.#read(splitter, chunk))
    socket.on('error', (error) => this.close(lost(error.message, error)))
    socket.on('close', () => this.close(lost('the daemon hung up')))
    socket.resume()
  }

  /** Calls that wait for their turn or their reply. */
  get load(): number {
    return this.#inFlight.size + this.#waiting.length
  }

  /** Whether one more call would have to wait. */
  get isFull(): boolean {
    return this.load >= this.#options.maxInFlight
  }

  /** Told once; at once when it is over already. */
  onClose(listener: (reason: SevbusError) => void): void {
    if (this.#reason === undefined) this.#onClose.push(listener)
    else listener(this.#reason)
  }

  /** Only with a daemon that knows keepalive: others take a ping for nonsense. */
  keepAlive({ intervalMs, count }: KeepaliveOptions): void {
    const keepalive = new Keepalive(count)
    this.#keepalive = keepalive
    this.#beat = setInterval(() => {
      const next = keepalive.next()
      if (next === 'ping') this.#socket.write(keepaliveFrame(KEEPALIVE.ping))
      else if (next === 'dead') this.close(lost(`the daemon was silent for ${count + 1} times ${intervalMs} ms`))
    }, intervalMs)
  }

  /**
   * @throws LibvirtError when libvirt refuses; HypervisorTimeout, HypervisorUnavailable or the signal's reason when its
   *   answer is not known; NotSent; InvalidLibvirtMessage when the answer is not understood
   */
  call<N extends ProcedureName>(name: N, args: Args<N>, { timeoutMs, signal }: CallLimits): Promise<Result<N>> {
    return new Promise((resolve, reject) => {
      if (this.#reason !== undefined) throw notSent(name, this.#reason)
      signal?.throwIfAborted()
      const procedure = PROCEDURES[name] as unknown as Procedure<Args<N>, Result<N>>
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const giveUp = (reason: unknown) => {
        end()
        reject(reason)
        this.#giveUp(call)
      }
      const onAbort = () => giveUp(signal?.reason)
      const serial = this.#nextSerial()
      const head = { ...REMOTE, procedure: procedure.number, type: MESSAGE_TYPE.call, serial, status: STATUS.ok }
      const call: Call = {
        name,
        serial,
        bytes: encodeFrame(head, procedure.args, args),
        givenUp: false,
        onReply(reply) {
          end()
          try {
            resolve(resultOf(name, procedure, reply))
          } catch (error) {
            reject(error)
          }
        },
        onLost(loss) {
          end()
          reject(loss)
        },
      }
      const timer = setTimeout(() => giveUp(timeout(name, timeoutMs)), timeoutMs)
      signal?.addEventListener('abort', onAbort)
      this.#waiting.push(call)
      this.#sendNext()
    })
  }

  /** Ends it with a word to the daemon, which would log an error otherwise; with calls under way it does not wait. */
  async end(reason: SevbusError): Promise<void> {
    if (this.load === 0) await this.call('connectClose', undefined, { timeoutMs: GOODBYE_TIMEOUT_MS }).catch(() => {})
    this.close(reason)
  }

  /** Ends it for the reason; ended already: nothing. */
  close(reason: SevbusError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    clearInterval(this.#beat)
    clearTimeout(this.#stuck)
    this.#socket.destroy()
    for (const call of this.#inFlight.values()) if (!call.givenUp) call.onLost(lostCall(call.name, reason))
    this.#inFlight.clear()
    for (const call of this.#waiting.splice(0)) call.onLost(notSent(call.name, reason))
    for (const listener of this.#onClose.splice(0)) listener(reason)
  }

  #nextSerial(): number {
    this.#serial = (this.#serial + 1) >>> 0
    return this.#serial
  }

  #sendNext(): void {
    while (this.#inFlight.size < this.#options.maxInFlight) {
      const call = this.#waiting.shift()
      if (call === undefined) return
      this.#inFlight.set(call.serial, call)
      this.#socket.write(call.bytes)
    }
  }

  /** What was not sent is not; a call that was keeps its place, for in the daemon it has one too. */
  #giveUp(call: Call): void {
    call.givenUp = true
    const place = this.#waiting.indexOf(call)
    if (place >= 0) this.#waiting.splice(place, 1)
    else if (this.#isStuck()) this.#stuck ??= setTimeout(() => this.#onStuck(), this.#options.stuckMs)
  }

  #onStuck(): void {
    this.close(lost(`${this.#inFlight.size} calls were never answered, and no more are taken`))
  }

  #isStuck(): boolean {
    const calls = [...this.#inFlight.values()]
    return calls.length >= this.#options.maxInFlight && calls.every(({ givenUp }) => givenUp)
  }

  #read(splitter: FrameSplitter, chunk: Buffer): void {
    this.#keepalive?.heard()
    try {
      splitter.push(chunk, (frame) => this.#onFrame(frame))
    } catch (error) {
      if (!(error instanceof InvalidLibvirtMessage)) throw error
      this.close(error)
    }
  }

  #onFrame(frame: Frame): void {
    const { program, type, procedure, serial } = frame
    if (program === KEEPALIVE.program) {
      if (procedure === KEEPALIVE.ping) this.#socket.write(keepaliveFrame(KEEPALIVE.pong))
    } else if (program === REMOTE.program && type === MESSAGE_TYPE.message) this.#options.onMessage(frame)
    else if (program === REMOTE.program && type === MESSAGE_TYPE.reply) {
      const call = this.#inFlight.get(serial)
      this.#inFlight.delete(serial)
      clearTimeout(this.#stuck)
      this.#stuck = undefined
      if (call?.givenUp === false) call.onReply(frame)
      this.#sendNext()
    }
  }
}

function resultOf<A, R>(name: string, procedure: Procedure<A, R>, reply: Frame): R {
  if (reply.status === STATUS.ok) return decodePayload(reply, procedure.result)
  throw libvirtError(name, decodePayload(reply, remoteError))
}

function keepaliveFrame(procedure: number): Buffer {
  const { program, version } = KEEPALIVE
  const head: Header = { program, version, procedure, type: MESSAGE_TYPE.message, serial: 0, status: STATUS.ok }
  return encodeFrame(head, nothing, undefined)
}

const LOOK_FIRST = 'what was asked may have been done all the same: look before you ask again'

function lost(why: string, cause?: unknown): HypervisorUnavailable {
  const fix = 'look whether libvirtd runs (systemctl status libvirtd virtqemud), and what it logs'
  return new HypervisorUnavailable(`the connection to libvirt is lost: ${why}`, { fix }, { cause })
}

function lostCall(call: string, reason: SevbusError): HypervisorUnavailable {
  return new HypervisorUnavailable(`${call}: ${reason.message}`, { call, fix: LOOK_FIRST }, { cause: reason })
}

function notSent(call: string, reason: SevbusError): NotSent {
  return new NotSent(`${call}: ${reason.message}`, { call, ...reason.details }, { cause: reason })
}

function timeout(call: string, timeoutMs: number): HypervisorTimeout {
  const facts = { call, timeout_ms: timeoutMs, fix: LOOK_FIRST }
  return new HypervisorTimeout(`${call}: no answer from libvirt within ${timeoutMs} ms`, facts)
}
