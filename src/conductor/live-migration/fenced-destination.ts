import type { Queryable } from '../../database/database.ts'
import { MigrationError } from '../../errors.ts'
import { faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import { onceDestinationIsFenced } from '../fenced-destination.ts'
import type { InstanceRecord } from '../instance-store.ts'
import { type MoveRecord, noteLeftThere } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { LIVE } from '../stages.ts'
import { notArrived } from './return.ts'

/** Whether the guest has come there only the destination can say; when that has no power it runs nowhere. */
export async function continueLiveArrival(
  ports: ConductorPorts,
  found: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
): Promise<void> {
  await onceDestinationIsFenced(ports, found, move, signal, async (tx, record, now) => {
    if (isToSayIfItCame(record)) await backFromFenced(ports, tx, record, now)
  })
}

/** Its guest has left its source, as far as that knows, and its destination has not spoken. */
export function isToSayIfItCame({ instance, move }: InstanceRecord): boolean {
  return move?.type === 'live-migration' && instance.task_state === LIVE.onHost
}

/**
 * Its source starts it again, from the disks that both hosts have. Should the destination come back with a guest all the same, its
 * worker hears of that before anything else.
 */
export async function backFromFenced(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
): Promise<Instance> {
  const { uuid, attempt } = record.instance
  const lost = new MigrationError(
    `host ${move.dest_host} was fenced before it had said whether guest ${uuid} has come; it is started where it was`,
    { instance_uuid: uuid, host: move.dest_host },
  )
  await noteLeftThere(tx, move.uuid, attempt, ports.now())
  return notArrived(ports, tx, record, move, faultOf(lost, ports.now().toISOString()))
}
