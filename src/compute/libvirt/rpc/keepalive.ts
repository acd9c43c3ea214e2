/** The keepalive program: pings go both ways, each is answered. Source: src/rpc/virkeepaliveprotocol.x */
export const KEEPALIVE = { program: 0x6b656570, version: 1, ping: 1, pong: 2 } as const

export interface KeepaliveOptions {
  readonly intervalMs: number
  /** Pings in a row without a sign of life, and the connection is over. */
  readonly count: number
}

/** Decides at each interval what a silent connection needs. Anything that comes is a sign of life. */
export class Keepalive {
  readonly #count: number
  #unanswered = 0
  #heard = false

  constructor(count: number) {
    this.#count = count
  }

  heard(): void {
    this.#heard = true
    this.#unanswered = 0
  }

  /** Counts pings, not time: a process that was asleep for a while does not take the other side for dead. */
  next(): 'nothing' | 'ping' | 'dead' {
    const heard = this.#heard
    this.#heard = false
    if (heard) return 'nothing'
    if (this.#unanswered >= this.#count) return 'dead'
    this.#unanswered++
    return 'ping'
  }
}
