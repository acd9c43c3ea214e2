import type { Database } from '../../src/database/database.ts'
import type { Placement } from '../../src/scheduler/placement/placement.ts'
import { oneOf, randomFrom } from '../soak/random.ts'
import type { Ask, BatchAsk } from './ask.ts'
import type { Fate, Waiting } from './gated-database.ts'
import type { SimulatedInstance } from './instances.ts'
import { info, type Message } from './messages.ts'
import { SchedulerProcess } from './scheduler-process.ts'
import type { SimulatedHost } from './simulated-host.ts'
import { theHosts } from './simulated-host.ts'
import { specOf } from './spec.ts'
import { readTables, setNow, type Tables } from './tables.ts'
import type { VirtualClock } from './virtual-clock.ts'

export interface WorldOptions {
  readonly engine: Database
  readonly clock: VirtualClock
  readonly seed: number
  readonly sabotage: (placement: Placement) => Placement
}

/** When it begins: any time will do. */
const BEGIN_MS = Date.parse('2026-03-01T10:00:00Z')

/** Everything that is simulated, and what can happen to it. Decides nothing: `steps.ts` does. */
export class World {
  readonly random: () => number
  readonly clock: VirtualClock
  readonly engine: Database
  readonly hosts: readonly SimulatedHost[] = theHosts()
  readonly instances = new Map<string, SimulatedInstance>()
  readonly asks = new Set<Ask>()
  readonly batchAsks = new Set<BatchAsk>()
  readonly messages: Message[] = []
  /** Hosts that an operator has taken out of service. */
  readonly closed = new Set<string>()
  /** Hosts that are known to be powered off. */
  readonly fenced = new Set<string>()
  readonly waiting: Waiting[] = []
  /** Milliseconds since the tables showed a sign of life, while the database could be asked. */
  readonly silentMs = new Map<string, number>()
  schedulers: SchedulerProcess[] = []
  /** Refuses everything, or does not answer at all. */
  database: 'is well' | 'refuses' | 'hangs' = 'is well'
  tables: Tables = { inventories: [], allocations: [], consumers: [], hosts: [], providers: [] }
  #skewMs = 0
  #started = 0
  #turns = 0
  readonly #sabotage: WorldOptions['sabotage']

  constructor({ engine, clock, seed, sabotage }: WorldOptions) {
    this.engine = engine
    this.clock = clock
    this.random = randomFrom(seed)
    this.#sabotage = sabotage
  }

  get running(): readonly SchedulerProcess[] {
    return this.schedulers.filter(({ state }) => state === 'runs')
  }

  startScheduler(): SchedulerProcess {
    const { engine, waiting, clock } = this
    const name = `s${++this.#started}`
    const scheduler = new SchedulerProcess({ name, engine, waiting, clock, sabotage: this.#sabotage })
    scheduler.onLook = () => {
      for (const ask of [...this.asks, ...this.batchAsks]) if (ask.scheduler === scheduler) ask.hasLooked = true
    }
    this.schedulers = [...this.schedulers.filter(({ state }) => state !== 'is dead'), scheduler]
    scheduler.start()
    return scheduler
  }

  /** What it was asked is never answered. */
  kill(scheduler: SchedulerProcess): void {
    scheduler.kill()
    for (const asks of [this.asks, this.batchAsks] as readonly Set<Ask | BatchAsk>[]) {
      for (const ask of asks) if (ask.scheduler === scheduler) asks.delete(ask)
    }
    for (const message of this.messages) if (message.state === 'is handled') message.state = 'waits'
  }

  ask(instance: SimulatedInstance, attempt: number, scheduler: SchedulerProcess): Ask {
    const ignored = instance.ignored.slice(0, attempt - 1).filter((host) => host !== '')
    const consumer = this.tables.consumers.find(({ uuid }) => uuid === instance.uuid)
    const move = instance.moves.get(attempt)
    const isOver = instance.voidedThrough >= attempt || move?.state === 'reverted'
    const isVoid = isOver || (attempt !== instance.current && (consumer?.attempt ?? 0) > attempt)
    const ask: Ask = { instance, attempt, ignored, scheduler, isVoid, hasLooked: false, wereNone: new Set() }
    this.asks.add(ask)
    const request_spec = specOf(instance.wish, instance.uuid, attempt, ignored, move)
    scheduler.manager.selectDestinations({ request_spec }, info).then(
      ({ selection }) => {
        ask.outcome = { selection }
      },
      (error: unknown) => {
        ask.outcome = { error }
      },
    )
    return ask
  }

  askForAll(members: readonly SimulatedInstance[], scheduler: SchedulerProcess): void {
    const ask: BatchAsk = { members, scheduler, hasLooked: false, didNotFit: false }
    this.batchAsks.add(ask)
    const [first] = members as [SimulatedInstance]
    const request_spec = specOf(first.wish, first.uuid, 1, [])
    const instance_uuids = members.map(({ uuid }) => uuid)
    scheduler.manager.selectDestinationsOfBatch({ request_spec, instance_uuids }, info).then(
      ({ selections }) => {
        ask.outcome = { selections: new Map(selections.map((one) => [one.instance_uuid, one.selection])) }
      },
      (error: unknown) => {
        ask.outcome = { error }
      },
    )
  }

  /** Offers it to a scheduler; what that does not bring to an end waits for another. */
  offer(message: Message, scheduler: SchedulerProcess): void {
    message.state = 'is handled'
    message.handle(scheduler).then(
      () => {
        message.state = 'is done'
        message.done()
      },
      () => {
        if (message.state === 'is handled') message.state = 'waits'
      },
    )
  }

  /** A report is transient: lost, the next one comes soon. */
  report(host: SimulatedHost, scheduler: SchedulerProcess): void {
    scheduler.manager.reportHost({ report: host.report() }, info).catch(() => {})
  }

  /** @param ms hosts report when they are due; who was silent grows older, while anybody could have seen it */
  pass(ms: number): void {
    this.clock.advance(ms)
    if (this.database === 'is well') {
      for (const [host, silentMs] of this.silentMs) this.silentMs.set(host, silentMs + ms)
    }
  }

  /** The clock of the database, not ours, is set to another time. */
  skew(ms: number): void {
    this.#skewMs += ms
  }

  /** Gives one statement its turn. */
  async turn(one: Waiting, fate: Fate): Promise<void> {
    this.waiting.splice(this.waiting.indexOf(one), 1)
    await setNow(this.engine, this.#databaseMs())
    await one.run(fate)
    await this.look()
  }

  /** SQL by an operator's hand. */
  async write(sql: string, params: readonly unknown[]): Promise<void> {
    await setNow(this.engine, this.#databaseMs())
    await this.engine.query(sql, params)
    await this.look()
  }

  /** What a scheduler does for an operator, at once. */
  async operate(work: (database: Database) => Promise<unknown>): Promise<void> {
    await setNow(this.engine, this.#databaseMs())
    await work(this.engine)
    await this.look()
  }

  /** Lets run what can, and reads the tables as they are then. @returns those of before */
  async look(): Promise<void> {
    await quiet()
    const before = new Map(this.tables.hosts.map((host) => [host.host, host.last_seen_up]))
    this.tables = await readTables(this.engine)
    for (const { host, last_seen_up } of this.tables.hosts) {
      if (before.get(host) !== last_seen_up) this.silentMs.set(host, 0)
    }
  }

  /** Undefined: there is none. */
  pickInstance(is: (instance: SimulatedInstance) => boolean): SimulatedInstance | undefined {
    const found = [...this.instances.values()].filter(is)
    return found.length === 0 ? undefined : this.pick(found)
  }

  pick<T>(items: readonly T[]): T {
    return oneOf(this.random, items)
  }

  /** Each statement a little later than the one before. */
  #databaseMs(): number {
    return BEGIN_MS + this.clock.nowMs + this.#skewMs + ++this.#turns
  }
}

/** Until all that could go on has gone on, as far as the next statement. */
export async function quiet(): Promise<void> {
  for (let turns = 0; turns < 6; turns++) await new Promise<void>((resolve) => setImmediate(resolve))
}
