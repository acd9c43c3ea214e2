import type { Queryable } from '../database/database.ts'
import { hostOf } from './host-life.ts'
import { type InstanceRecord, lockInstance } from './instance-store.ts'
import type { MoveRecord } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'

/**
 * A destination that does not answer may have a guest; one that is fenced has none, whoever answers. Then the work is done, if the
 * move is still the instance's.
 */
export async function onceDestinationIsFenced(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
  work: (tx: Queryable, record: InstanceRecord, move: MoveRecord) => Promise<unknown>,
): Promise<void> {
  const there = await hostOf(ports, context, move.dest_host as string, signal)
  if (there?.fenced !== true) return
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance.uuid)
    if (record.move?.uuid === move.uuid) await work(tx, record, record.move)
  })
  ports.outbox.announce()
}
