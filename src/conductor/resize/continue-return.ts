import { hostOf } from '../host-life.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { type MoveRecord, noteLeftThere } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { leftDestination } from './decide.ts'

/** A destination that does not answer may have a guest; one that is fenced has none, whoever answers. */
export async function continueReturn(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
): Promise<void> {
  const there = await hostOf(ports, context, move.dest_host as string, signal)
  if (there?.fenced !== true) return
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance.uuid)
    const now = record.move
    if (now?.uuid !== move.uuid || now.status !== 'reverting') return
    // Should it come back with a guest all the same, its worker hears of it before anything else.
    if (now.dest_host !== now.source_host) await noteLeftThere(tx, now.uuid, record.instance.attempt, ports.now())
    await leftDestination(ports, tx, record, now)
  })
  ports.outbox.announce()
}
