import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** Bytes that a slow line passes in a second, each way. */
const SLOW_BYTES_PER_SECOND = 64 * 1024
const SLOW_DELAY_MS = 50

/** The TCP line of one process to the broker, with whatever can happen to one. */
export class Line implements AsyncDisposable {
  readonly #server: Server
  readonly #wires = new Set<Wire>()
  #condition: Condition = 'well'

  private constructor(server: Server, target: () => string) {
    this.#server = server
    server.on('connection', (near) => {
      const { hostname, port } = new URL(target())
      const far = connect(Number(port) || 5672, hostname)
      const wire = new Wire(near, far, () => this.#wires.delete(wire))
      wire.become(this.#condition)
      this.#wires.add(wire)
    })
  }

  /** @param target URL of the broker, asked for each connection: it may move */
  static async to(target: () => string): Promise<Line> {
    const server = createServer()
    const line = new Line(server, target)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return line
  }

  /** The URL, led through here. */
  through(url: string): string {
    const led = new URL(url)
    led.hostname = '127.0.0.1'
    led.port = String((this.#server.address() as AddressInfo).port)
    return led.href
  }

  /** RST to both sides of every connection. */
  reset(): void {
    for (const wire of this.#wires) wire.reset()
  }

  /** Nothing passes, in either direction, and nothing is lost: when it is well again everything goes on its way. */
  stall(): void {
    this.#become('stalled')
  }

  /** Little passes, and late. */
  slow(): void {
    this.#become('slow')
  }

  recover(): void {
    this.#become('well')
  }

  /** Every connection is gone for the other side, and this one hears nothing of it: a firewall that has forgotten. */
  halfOpen(left: 'process' | 'broker'): void {
    for (const wire of this.#wires) wire.leaveOpen(left)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reset()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #become(condition: Condition): void {
    this.#condition = condition
    for (const wire of this.#wires) wire.become(condition)
  }
}

type Condition = 'well' | 'stalled' | 'slow'

/** One connection: near is the process, far the broker. */
class Wire {
  readonly #near: Socket
  readonly #far: Socket
  #condition: Condition = 'well'
  #isCut = false
  /** Told of each change of the condition. */
  #changed: (() => void)[] = []

  constructor(near: Socket, far: Socket, onEnd: () => void) {
    this.#near = near
    this.#far = far
    this.#lead(near, far, onEnd)
    this.#lead(far, near, onEnd)
  }

  become(condition: Condition): void {
    this.#condition = condition
    for (const tell of this.#changed.splice(0)) tell()
  }

  reset(): void {
    for (const socket of [this.#near, this.#far]) socket.resetAndDestroy()
  }

  leaveOpen(left: 'process' | 'broker'): void {
    this.#isCut = true
    const [kept, gone] = left === 'process' ? [this.#near, this.#far] : [this.#far, this.#near]
    gone.resetAndDestroy()
    // Whoever is left may write as much as it likes.
    kept.resume()
    this.become('well')
  }

  /** A piece after the other: the next one is read when the last one has been passed on. */
  #lead(from: Socket, to: Socket, onEnd: () => void): void {
    from.setNoDelay(true)
    from.on('data', (bytes) => {
      if (this.#isCut) return
      from.pause()
      void this.#carry(bytes, to).then(() => from.resume())
    })
    from.on('error', () => {})
    from.on('close', () => {
      if (!this.#isCut) to.destroy()
      onEnd()
    })
  }

  async #carry(bytes: Buffer, to: Socket): Promise<void> {
    if (this.#condition === 'slow') await sleep(SLOW_DELAY_MS + (bytes.length / SLOW_BYTES_PER_SECOND) * 1000)
    while (this.#condition === 'stalled') await new Promise<void>((resolve) => this.#changed.push(resolve))
    if (this.#isCut || to.destroyed || to.write(bytes)) return
    await Promise.race([once(to, 'drain'), once(to, 'close')]).catch(() => {})
  }
}
