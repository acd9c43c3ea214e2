import type { Queryable } from '../database/database.ts'
import { lockInstance } from './instance-store.ts'
import { allDepartures } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { waitedFor } from './waited-for.ts'
import { askAgain } from './watchdog.ts'

/**
 * Says again what every unfinished instance waits for: for a broker that was made anew and has lost what it had
 * confirmed. Nothing happens twice by it, since receivers tell a repeat by the try.
 */
export async function resendUnfinished(ports: ConductorPorts): Promise<void> {
  const rows = await ports.database.query<{ uuid: string }>(
    'SELECT uuid FROM instances WHERE task_state IS NOT NULL ORDER BY position',
  )
  for (const { uuid } of rows) await ports.database.transaction((tx) => resend(ports, tx, uuid))
  for (const move of await allDepartures(ports.database)) {
    await ports.database.transaction((tx) => askAgain(ports, tx, move))
  }
  ports.outbox.announce()
}

async function resend(ports: ConductorPorts, tx: Queryable, uuid: string): Promise<void> {
  await ports.outbox.enqueue(tx, await waitedFor(ports, tx, await lockInstance(tx, uuid)))
}
