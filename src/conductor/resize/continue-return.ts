import { onceDestinationIsFenced } from '../fenced-destination.ts'
import type { InstanceRecord } from '../instance-store.ts'
import { type MoveRecord, noteLeftThere } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { leftDestination } from './decide.ts'

/** Until its destination has let go of it, it does not go back. */
export async function continueReturn(
  ports: ConductorPorts,
  found: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
): Promise<void> {
  await onceDestinationIsFenced(ports, found, move, signal, async (tx, record, now) => {
    if (now.status !== 'reverting') return
    // Should it come back with a guest all the same, its worker hears of it before anything else.
    if (now.dest_host !== now.source_host) await noteLeftThere(tx, now.uuid, record.instance.attempt, ports.now())
    await leftDestination(ports, tx, record, now)
  })
}
