import { allocationName, type ClaimsSeen, checkAnswer, checkBatchAnswer, tryName } from './answers.ts'
import { type Ask, type BatchAsk, choices } from './ask.ts'
import { allFit, checkBatches } from './batches.ts'
import { checkHosts } from './host-invariants.ts'
import { checkTables } from './invariants.ts'
import { suitableHosts, TRAIT_OF } from './suitable-hosts.ts'
import type { Tables } from './tables.ts'
import { must } from './violation.ts'
import { quiet, type World } from './world.ts'

/** Silent for less than this, nobody may be held for dead: of the six intervals of 10 s some are spent on the way. */
const SURELY_ALIVE_MS = 45_000

/** Looks on after every step. Keeps what it needs of what it saw before. */
export class Checker {
  readonly counts: Record<string, number> = {}
  readonly #world: World
  readonly #tell: (line: string) => void
  readonly #claims = new Map<string, { readonly host: string; readonly allocations: readonly string[] }>()
  #before: Tables

  /** @param tell is told what was answered */
  constructor(world: World, tell: (line: string) => void) {
    this.#world = world
    this.#tell = tell
    this.#before = world.tables
  }

  get claims(): ClaimsSeen {
    return this.#claims
  }

  /** @throws Violation */
  async check(): Promise<void> {
    await quiet()
    const { tables, instances } = this.#world
    if (tables !== this.#before) {
      checkTables(this.#before, tables, instances)
      checkHosts(this.#before, tables, this.#world.closed)
      checkBatches(tables, instances.values())
      this.#checkDeaths()
      this.#noteClaims()
      this.#before = tables
    }
    this.#noteSuitable()
    for (const ask of answered(this.#world.asks)) this.#note(checkAnswer(ask, this.#claims))
    for (const ask of answered(this.#world.batchAsks)) this.#note(checkBatchAnswer(ask, this.#claims))
  }

  #note(told: string): void {
    this.#count(told.split(': ').at(-1) as string)
    this.#tell(told)
  }

  /** Nobody is declared dead who reported while it could be seen. */
  #checkDeaths(): void {
    for (const { host, down_since } of this.#world.tables.hosts) {
      const wasDown = this.#before.hosts.find((one) => one.host === host)?.down_since ?? null
      if (down_since === null || wasDown !== null) continue
      const silentMs = this.#world.silentMs.get(host) ?? 0
      this.#count('down')
      must(silentMs >= SURELY_ALIVE_MS, () => `${host} was declared dead ${silentMs} ms after its last sign of life`)
    }
  }

  #noteClaims(): void {
    const { consumers, allocations, providers } = this.#world.tables
    for (const { uuid, attempt, host, instance } of consumers) {
      if (host === null || instance !== null) continue
      const name = tryName(uuid, attempt)
      const held = allocations.filter(({ consumer }) => consumer === uuid)
      const before = this.#claims.get(name)
      this.#claims.set(name, { host, allocations: held.map(allocationName).toSorted() })
      if (before !== undefined) continue
      const pool = providers.find((one) => held.some((row) => row.provider === one.name && one.name !== host))
      for (const ask of this.#world.asks) {
        if (ask.instance.uuid === uuid && ask.attempt === attempt) this.#checkOrder(ask, pool?.traits ?? [])
      }
    }
  }

  /** A lesser model is only given when there was a moment when no host had a better one. */
  #checkOrder(ask: Ask, traits: readonly string[]): void {
    const { wish, name } = ask.instance
    const given = wish.models.findIndex((model) => traits.includes(TRAIT_OF[model]))
    const asks = [...this.#world.asks].filter((one) => one.instance === ask.instance && one.attempt === ask.attempt)
    const passedOver = wish.models.slice(0, given).find((model) => !asks.some(({ wereNone }) => wereNone.has(model)))
    must(
      passedOver === undefined,
      () => `${name} (${wish.name}) got ${wish.models[given]}, though ${passedOver} was free`,
    )
  }

  #noteSuitable(): void {
    const { tables, silentMs, hosts, asks, batchAsks, instances } = this.#world
    const living = hosts.filter(({ name, isAlive }) => isAlive && (silentMs.get(name) ?? 0) < SURELY_ALIVE_MS)
    const alive = new Set(living.map(({ name }) => name))
    for (const ask of batchAsks) this.#noteFitting(ask, alive)
    for (const ask of asks) {
      if (!ask.hasLooked) continue
      const { instance, ignored } = ask
      for (const choice of choices(ask)) {
        const model = choice === 'clear' ? undefined : choice
        const suitable = suitableHosts(tables, model, { instance, instances, ignored, alive })
        if (suitable.length === 0) ask.wereNone.add(choice)
      }
    }
  }

  /** What several find room for together is only known without a group. */
  #noteFitting(ask: BatchAsk, alive: ReadonlySet<string>): void {
    if (!ask.hasLooked || ask.didNotFit) return
    const { tables, instances } = this.#world
    const isOfGroup = ask.members[0]?.wish.group !== null
    ask.didNotFit = isOfGroup || !allFit(tables, ask.members, { instances, ignored: [], alive })
  }

  #count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1
  }
}

function answered<T extends Ask | BatchAsk>(asks: Set<T>): readonly T[] {
  const found = [...asks].filter(({ outcome }) => outcome !== undefined)
  for (const ask of found) asks.delete(ask)
  return found
}
