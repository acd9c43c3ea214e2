import type { Delivery, DeliveryHandler, QueueState } from '../transport.ts'

export interface MemoryMessage {
  readonly body: Buffer
  readonly contentType: string
  readonly headers: Readonly<Record<string, unknown>>
  readonly userId: string | undefined
  readonly sentAtMs: number
  readonly expirationMs: number | undefined
  /** Milliseconds on the clock of `performance.now()`. */
  readonly expiresAt: number
}

/** A message in one queue: its place there, and how often it was handed out. */
interface Entry {
  readonly message: MemoryMessage
  readonly place: number
  deliveries: number
}

/** Keeps messages until a consumer has settled them; hands them round among those whose hands are free. */
export class MemoryQueue {
  readonly name: string
  readonly #ready: Entry[] = []
  #places = 0
  #scheduled = false
  /** In order of their turn. */
  readonly #consumers: MemoryConsumer[] = []

  constructor(name: string) {
    this.name = name
  }

  get state(): QueueState {
    return { messages: this.#ready.length, consumers: this.#consumers.length }
  }

  push(message: MemoryMessage): void {
    this.#ready.push({ message, place: this.#places++, deliveries: 0 })
    this.schedule()
  }

  /** Back to the places they had, so that order survives a consumer that gives up. */
  giveBack(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const next = this.#ready.findIndex(({ place }) => place > entry.place)
      this.#ready.splice(next < 0 ? this.#ready.length : next, 0, entry)
    }
    this.schedule()
  }

  add(consumer: MemoryConsumer): void {
    this.#consumers.push(consumer)
    this.schedule()
  }

  remove(consumer: MemoryConsumer): void {
    const index = this.#consumers.indexOf(consumer)
    if (index >= 0) this.#consumers.splice(index, 1)
  }

  /** Never delivers inside the caller's stack, and lets I/O have its turn: a broker would be another process. */
  schedule(): void {
    if (this.#scheduled || this.#ready.length === 0) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#deliver()
    })
  }

  #deliver(): void {
    const now = performance.now()
    // As many as there are now: what comes in meanwhile has a turn of its own.
    for (let left = this.#ready.length; left > 0; left--) {
      const next = this.#ready[0]
      if (next === undefined) return
      const expired = next.message.expiresAt <= now
      const consumer = expired ? undefined : this.#nextFree()
      if (!expired && consumer === undefined) return
      this.#ready.shift()
      consumer?.take(next)
    }
    this.schedule()
  }

  #nextFree(): MemoryConsumer | undefined {
    const index = this.#consumers.findIndex((consumer) => consumer.isFree)
    if (index < 0) return undefined
    const [consumer] = this.#consumers.splice(index, 1)
    if (consumer) this.#consumers.push(consumer)
    return consumer
  }
}

export interface MemoryConsumerOptions {
  readonly queue: MemoryQueue
  readonly handler: DeliveryHandler
  readonly prefetch: number
  readonly fanout: boolean
}

export class MemoryConsumer {
  readonly #options: MemoryConsumerOptions
  readonly #unsettled = new Set<Entry>()

  constructor(options: MemoryConsumerOptions) {
    this.#options = options
    options.queue.add(this)
  }

  get isFree(): boolean {
    const { prefetch } = this.#options
    return prefetch === 0 || this.#unsettled.size < prefetch
  }

  take(entry: Entry): void {
    entry.deliveries++
    this.#unsettled.add(entry)
    this.#options.handler(this.#deliveryOf(entry))
  }

  stop(): void {
    this.#options.queue.remove(this)
  }

  close(): void {
    this.stop()
    const entries = [...this.#unsettled]
    this.#unsettled.clear()
    this.#options.queue.giveBack(entries)
  }

  #deliveryOf(entry: Entry): Delivery {
    const { queue, fanout } = this.#options
    const unsettled = this.#unsettled
    let settled = false
    const settle = (): boolean => {
      settled = true
      return unsettled.delete(entry)
    }
    return {
      queue: queue.name,
      body: entry.message.body,
      contentType: entry.message.contentType,
      headers: entry.message.headers,
      userId: entry.message.userId,
      fanout,
      deliveryCount: entry.deliveries,
      isCounted: true,
      sentAtMs: entry.message.sentAtMs,
      expirationMs: entry.message.expirationMs,
      get lost() {
        return !settled && !unsettled.has(entry)
      },
      ack: () => {
        if (settle()) queue.schedule()
      },
      requeue: () => {
        if (settle()) queue.giveBack([entry])
      },
    }
  }
}
