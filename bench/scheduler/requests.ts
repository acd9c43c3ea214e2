import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { DatabaseOutbox } from '../../dist/database/outbox.js'
import { DEFAULT_NOTIFICATION_NAMES } from '../../dist/notifications/notification.js'
import { OperatingEvents } from '../../dist/notifications/operating-events.js'
import { SelectionEvents } from '../../dist/notifications/selection-events.js'
import { RequestSpec } from '../../dist/objects/request-spec.js'
import { newRequestContext } from '../../dist/rpc/request-context.js'
import { defaultFilters } from '../../dist/scheduler/filters/default-filters.js'
import { SchedulerManager } from '../../dist/scheduler/manager.js'
import { DatabasePlacement } from '../../dist/scheduler/placement/placement.js'
import type { Telling } from '../../dist/scheduler/telling.js'
import { defaultWeighers } from '../../dist/scheduler/weighers/default-weighers.js'
import type { Database } from '../../src/database/database.ts'

const PROJECTS = Array.from({ length: 50 }, () => randomUUID())

/** What users ask for: three sizes, one request of four encrypted, each of some project and image. */
function requestSpec(n: number): RequestSpec {
  const [vcpus, gib] = [
    [1, 2],
    [2, 4],
    [4, 8],
  ][n % 3] as [number, number]
  const isEncrypted = n % 4 === 0
  return RequestSpec.parse({
    instance_uuid: randomUUID(),
    attempt: 1,
    project_id: PROJECTS[n % PROJECTS.length],
    user_id: null,
    flavor: {
      flavorid: String(n % 3),
      name: `m1.${n % 3}`,
      vcpus,
      memory_mb: gib * 1024,
      root_gb: 20,
      extra_specs: isEncrypted ? { 'hw:mem_encryption': 'true' } : {},
    },
    image: {
      id: randomUUID(),
      name: `image ${n % 10}`,
      properties: isEncrypted ? { hw_firmware_type: 'uefi', hw_machine_type: 'q35' } : {},
    },
    mem_encryption: isEncrypted ? { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } : null,
  })
}

/** A scheduler as its worker puts it together. */
export async function openScheduler(database: Database, { isTelling = false } = {}) {
  const telling = isTelling ? tellingTo(database) : undefined
  const placement = new DatabasePlacement(database, { telling })
  const tries = new Tries(placement)
  const manager = new SchedulerManager({
    placement: tries.counted,
    filters: defaultFilters(),
    weighers: defaultWeighers(),
    logger: pino({ level: 'silent' }),
    telling,
  })
  await manager.start()
  return { manager, placement, tries }
}

/** Stores what is told of requests, and forgets it: sending costs as much as for any message. */
function tellingTo(database: Database): Telling {
  const store = new DatabaseOutbox(database, { owner: 'scheduler' })
  const forget = () => void database.query(`delete from outbox where owner = 'scheduler'`)
  return {
    events: new OperatingEvents(DEFAULT_NOTIFICATION_NAMES, 'bench'),
    selections: new SelectionEvents(DEFAULT_NOTIFICATION_NAMES, 'bench'),
    storing: store.storing,
    enqueue: (tx, messages) => store.enqueue(tx, messages),
    tell: (messages) => store.enqueue(database, messages),
    offer() {},
    announce: forget,
  }
}

/** How often each instance was claimed for. */
class Tries {
  readonly counted: DatabasePlacement
  readonly #tries = new Map<string, number>()

  constructor(placement: DatabasePlacement) {
    const count = (uuid: string) => this.#tries.set(uuid, (this.#tries.get(uuid) ?? 0) + 1)
    this.counted = new Proxy(placement, {
      get: (target, property) => {
        const value = Reflect.get(target, property, target)
        if (typeof value !== 'function') return value
        if (property !== 'claim' && property !== 'grant') return value.bind(target)
        return (claim: string | { instance_uuid: string }, ...rest: unknown[]) => {
          count(typeof claim === 'string' ? claim : claim.instance_uuid)
          return value.call(target, claim, ...rest)
        }
      },
    })
  }

  /** Claims that were lost, of each request. */
  take(): readonly number[] {
    const retries = [...this.#tries.values()].map((tries) => tries - 1)
    this.#tries.clear()
    return retries
  }
}

const info = { context: newRequestContext(), signal: new AbortController().signal }

export async function select(manager: SchedulerManager, n: number): Promise<void> {
  await manager.selectDestinations({ request_spec: requestSpec(n) }, info)
}

/** Runs `count` of them with so many in flight. @returns how long each took, in ms, sorted */
export async function drive(count: number, inFlight: number, one: (n: number) => Promise<unknown>): Promise<number[]> {
  const latencies: number[] = []
  let next = 0
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (next < count) {
        const n = next++
        const began = performance.now()
        await one(n)
        latencies.push(performance.now() - began)
      }
    }),
  )
  return latencies.sort((a, b) => a - b)
}

export function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? Number.NaN
}
