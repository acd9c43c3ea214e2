import { createHash } from 'node:crypto'
import type { Queryable } from '../database/database.ts'
import type { InstanceRecord } from './instance-store.ts'

/** By it a repeated request is told from another one, after the user data itself is gone, too. */
export function userDataDigest(userData: string | undefined): string | null {
  return userData === undefined ? null : createHash('sha256').update(userData).digest('hex')
}

export async function storeUserData(tx: Queryable, uuid: string, userData: string): Promise<void> {
  await tx.query('INSERT INTO user_data (instance_uuid, content) VALUES ($1, $2)', [uuid, userData])
}

/** Undefined: the request had none. Most have none, and cost no statement. */
export async function userDataOf(
  tx: Queryable,
  { instance, userDataDigest: digest }: InstanceRecord,
): Promise<string | undefined> {
  if (digest === null) return undefined
  const rows = await tx.query<{ content: string }>('SELECT content FROM user_data WHERE instance_uuid = $1', [
    instance.uuid,
  ])
  return rows[0]?.content
}

/** Of an instance that is gone for good. */
export async function forgetUserData(tx: Queryable, { instance, userDataDigest: digest }: InstanceRecord) {
  if (digest !== null) await tx.query('DELETE FROM user_data WHERE instance_uuid = $1', [instance.uuid])
}
