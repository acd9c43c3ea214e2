import { BuildAborted, StaleAttempt } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { LeftDisks } from '../objects/left-disks.ts'
import type { LiveMigrateData } from '../objects/live-migrate-data.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { prepareGuest } from './actions/live-migration.ts'
import type { ComputePorts } from './compute-ports.ts'
import type { InstanceLanes } from './instance-lanes.ts'
import type { Journal } from './journal/journal.ts'
import { removeLeftovers } from './leftovers.ts'

/**
 * A guest may come here as it runs: its disks are here, and by the journal its try has neither begun to be built nor ended.
 * What happens to it meanwhile is its source's business.
 */
export function isExpected(journal: Journal, uuid: string): boolean {
  const known = journal.known(uuid)
  if (known === undefined || known.outcome !== undefined || known.terminated !== undefined) return false
  return journal.build(uuid) === undefined && journal.termination(uuid) === undefined
}

/** Makes this host ready for guests that come from others as they run. */
export class Arrivals {
  readonly #ports: ComputePorts
  readonly #lanes: InstanceLanes

  constructor(ports: ComputePorts, lanes: InstanceLanes) {
    this.#ports = ports
    this.#lanes = lanes
  }

  /**
   * The journal has it before anything is made. Asked again it does what is missing: what has come is never removed by it.
   * @throws StaleAttempt when the try is over here
   */
  async prepare(instance: Instance, disks: LeftDisks, { context, signal }: RequestInfo): Promise<LiveMigrateData> {
    const { uuid, attempt } = instance
    const { journal } = this.#ports
    const known = journal.known(uuid)?.attempt ?? 0
    if (attempt < known || (attempt === known && !isExpected(journal, uuid))) throw this.#stale(instance)
    const isNew = attempt > known
    if (isNew) await journal.append([{ type: 'attempt_known', uuid, attempt }])
    return this.#inLane(instance, async (interrupted) => {
      const until = AbortSignal.any([signal, interrupted])
      // Read again: what came meanwhile may have taken its place.
      if (journal.known(uuid)?.attempt !== attempt || !isExpected(journal, uuid)) throw this.#stale(instance)
      if (isNew && known > 0) await removeLeftovers(uuid, context, this.#ports, until)
      return prepareGuest(instance, disks, this.#ports, until)
    })
  }

  #inLane<T>({ uuid }: Instance, work: (interrupted: AbortSignal) => Promise<T>): Promise<T> {
    const interruption = new BuildAborted('a later try took over', { instance_uuid: uuid })
    return new Promise((resolve, reject) => {
      this.#lanes.run(uuid, (interrupted) => work(interrupted).then(resolve, reject), interruption)
    })
  }

  #stale({ uuid, attempt }: Instance): StaleAttempt {
    const known = this.#ports.journal.known(uuid)?.attempt ?? null
    const details = { instance_uuid: uuid, attempt, known_attempt: known }
    return new StaleAttempt(`try ${attempt} of instance ${uuid} is over on this host`, details)
  }
}
