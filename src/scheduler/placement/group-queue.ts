/** How a queue gathers. */
export interface GroupQueueOptions<Item> {
  /** Items of one group have different keys; a second one with the same waits for the next group. */
  readonly key: (item: Item) => string
  /** Items of a group, at most. */
  readonly size: number
  /** Groups on their way at once, at most. */
  readonly inFlight: number
  /** Items that are worth a group of their own while others are on their way. Fewer wait for the end of one, but not long. */
  readonly alongside?: number
}

/** A group that takes longer waits for somebody's lock, or for a slow disk: then others go, however few. */
const PATIENCE_MS = 20

interface Waiting<Item, Outcome> {
  readonly item: Item
  readonly resolve: (outcome: Outcome) => void
  readonly reject: (error: unknown) => void
}

/**
 * What comes while groups are on their way goes together in the next: many writes, one commit.
 */
export class GroupQueue<Item, Outcome> {
  readonly #run: (items: readonly Item[]) => Promise<readonly Outcome[]>
  readonly #options: GroupQueueOptions<Item>
  #waiting: Waiting<Item, Outcome>[] = []
  #inFlight = 0
  #isDue = false
  #patience: NodeJS.Timeout | undefined

  /** @param run gives an outcome for each item, in their order; when it throws, each item is run by itself */
  constructor(run: (items: readonly Item[]) => Promise<readonly Outcome[]>, options: GroupQueueOptions<Item>) {
    this.#run = run
    this.#options = options
  }

  add(item: Item): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      this.#soon()
    })
  }

  /** At the end of this turn of the event loop: what else comes in it goes along. */
  #soon(): void {
    if (this.#isDue) return
    this.#isDue = true
    setImmediate(() => {
      this.#isDue = false
      this.#pump()
    })
  }

  #pump(isPatient = true): void {
    const { size, inFlight, alongside = 1 } = this.#options
    const free = inFlight - this.#inFlight
    const worthIt = Math.floor(this.#waiting.length / (isPatient ? alongside : 1))
    const groups = Math.min(free, Math.max(worthIt, this.#inFlight === 0 ? 1 : 0))
    // Shared among the groups that may go: two at once are sooner done than one of both.
    const share = Math.min(size, Math.ceil(this.#waiting.length / groups))
    for (let n = 0; n < groups && this.#waiting.length > 0; n++) {
      const group = this.#next(share)
      this.#inFlight++
      void this.#serve(group).finally(() => {
        this.#inFlight--
        this.#soon()
      })
    }
    if (groups > 0) {
      clearTimeout(this.#patience)
      this.#patience = undefined
    }
    if (this.#waiting.length > 0 && this.#inFlight < inFlight) this.#patience ??= this.#impatience()
  }

  #impatience(): NodeJS.Timeout {
    return setTimeout(() => {
      this.#patience = undefined
      this.#pump(false)
    }, PATIENCE_MS)
  }

  #next(size: number): readonly Waiting<Item, Outcome>[] {
    const { key } = this.#options
    const group = new Map<string, Waiting<Item, Outcome>>()
    const later: Waiting<Item, Outcome>[] = []
    for (const one of this.#waiting) {
      const name = key(one.item)
      if (group.size < size && !group.has(name)) group.set(name, one)
      else later.push(one)
    }
    this.#waiting = later
    return [...group.values()]
  }

  async #serve(group: readonly Waiting<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.#run(group.map(({ item }) => item))
      for (const [n, { resolve }] of group.entries()) resolve(outcomes[n] as Outcome)
    } catch (error) {
      if (group.length === 1) group[0]?.reject(error)
      // One that is broken must not spoil the others.
      else for (const one of group) await this.#serve([one])
    }
  }
}
