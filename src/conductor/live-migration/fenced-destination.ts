import type { Queryable } from '../../database/database.ts'
import { MigrationError } from '../../errors.ts'
import { faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import { hostOf } from '../host-life.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { type MoveRecord, noteLeftThere } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { LIVE } from '../stages.ts'
import { notArrived } from './return.ts'

/** Whether the guest has come there only the destination can say; when that has no power it runs nowhere. */
export async function continueLiveArrival(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
): Promise<void> {
  const there = await hostOf(ports, context, move.dest_host as string, signal)
  if (there?.fenced !== true) return
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance.uuid)
    if (record.move?.uuid === move.uuid && isToSayIfItCame(record)) await backFromFenced(ports, tx, record, record.move)
  })
  ports.outbox.announce()
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
