import type { Database } from '../../database/database.ts'
import { retryTransaction } from '../../database/transactions.ts'
import type { Migration } from '../../objects/request-spec.ts'

/** Which move of which instance. */
export interface Move {
  readonly instance_uuid: string
  readonly migration: Migration
}

/**
 * The instance stays where it went: what the move holds of the source is given back. Of a move that is over, or has not
 * claimed, it is nothing.
 *
 * @returns the host that has its resources back
 */
export async function confirmMove(database: Database, { instance_uuid, migration }: Move): Promise<string | undefined> {
  const [row] = await retryTransaction(() =>
    database.query<{ host: string | null }>('select confirm_move($1, $2) as host', [instance_uuid, migration.uuid]),
  )
  return row?.host ?? undefined
}

/**
 * The instance runs where its evacuation has brought it. What is held of the source is given back at once when its host is
 * fenced, else when it is, or when the move is confirmed.
 *
 * @returns the host that has its resources back
 */
export async function finishMove(database: Database, { instance_uuid, migration }: Move): Promise<string | undefined> {
  const [row] = await retryTransaction(() =>
    database.query<{ host: string | null }>('select finish_move($1, $2) as host', [instance_uuid, migration.uuid]),
  )
  return row?.host ?? undefined
}

/**
 * The instance goes back to where it came from: the destination is given back, and the source is its own again. A claim
 * of the move that comes later is void; of a move that is over, it is nothing.
 *
 * @returns the host that it has again
 */
export async function revertMove(database: Database, { instance_uuid, migration }: Move): Promise<string | undefined> {
  const [row] = await retryTransaction(() =>
    database.query<{ host: string | null }>('select revert_move($1, $2, $3) as host', [
      instance_uuid,
      migration.uuid,
      migration.type,
    ]),
  )
  return row?.host ?? undefined
}
