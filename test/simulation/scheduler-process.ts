import pino from 'pino'
import type { Database } from '../../src/database/database.ts'
import { buildOutcomesEndpoint } from '../../src/scheduler/build-outcomes.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { movesEndpoint } from '../../src/scheduler/moves.ts'
import { DatabasePlacement, type Placement } from '../../src/scheduler/placement/placement.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { GatedDatabase, type Waiting } from './gated-database.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** Builds that fail in a row until a host goes out of service. */
export const DISABLE_AFTER = 3

interface ProcessOptions {
  readonly name: string
  readonly engine: Database
  readonly waiting: Waiting[]
  readonly clock: VirtualClock
  /** Changes what the scheduler sees of placement: to show that faults of that kind are found. */
  readonly sabotage: (placement: Placement) => Placement
}

/** A scheduler with a memory of its own, over the placement that all share. */
export class SchedulerProcess {
  readonly name: string
  readonly manager: SchedulerManager
  readonly moves: ReturnType<typeof movesEndpoint>
  readonly builds: ReturnType<typeof buildOutcomesEndpoint>
  readonly #database: GatedDatabase
  /** It looks at the hosts, and now begins to. */
  onLook = () => {}
  state: 'starts' | 'runs' | 'is dead' = 'starts'

  constructor({ name, engine, waiting, clock, sabotage }: ProcessOptions) {
    this.name = name
    this.#database = new GatedDatabase(engine, name, waiting)
    const logger = pino({ level: 'silent' })
    this.moves = movesEndpoint({ database: this.#database, logger })
    this.builds = buildOutcomesEndpoint({ database: this.#database, disableAfter: DISABLE_AFTER, logger })
    const placement = sabotage(new DatabasePlacement(this.#database))
    this.manager = new SchedulerManager({
      placement: overriding(placement, {
        changesSince: (cursor) => {
          this.onLook()
          return placement.changesSince(cursor)
        },
      }),
      filters: defaultFilters(),
      weighers: defaultWeighers(),
      options: { seed: 'simulation', now: () => clock.nowMs },
      logger,
    })
  }

  /** It ends when the hosts cannot be read, as the worker does. */
  start(): void {
    this.manager.start().then(
      () => {
        if (this.state === 'starts') this.state = 'runs'
      },
      () => this.kill(),
    )
  }

  /** Nothing of it goes on, and what it waits for never comes. */
  kill(): void {
    this.state = 'is dead'
    this.#database.die()
    void this.manager.hosts.close()
  }
}

/** The same with some methods of another kind. */
export function overriding(placement: Placement, methods: Partial<Placement>): Placement {
  return new Proxy(placement, {
    get(target, name) {
      if (name in methods) return methods[name as keyof Placement]
      const value = target[name as keyof Placement] as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}
