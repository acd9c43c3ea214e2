import type { Queryable } from '../../database/database.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import type { MemEncryption } from '../../objects/mem-encryption.ts'
import type { RequestContext } from '../../rpc/request-context.ts'

/** What an instance waits as while it is shelved. */
export interface ShelvingRecord {
  readonly image: ImageMeta
  /** Where the image was made, and is removed. */
  readonly host: string
  /** What it ran with: it runs again with no less. */
  readonly mem_encryption: MemEncryption | null
  /** The tries of its unshelving begin with this one; null: nobody has asked for it. */
  readonly first_attempt: number | null
  /** Only there; null: wherever a scheduler finds. */
  readonly asked_host: string | null
  /** Who asked: goes with every message about it. */
  readonly context: RequestContext
}

export function isShelved({ vm_state }: Pick<Instance, 'vm_state'>): boolean {
  return vm_state === 'shelved' || vm_state === 'shelved_offloaded'
}

export async function insertShelving(
  tx: Queryable,
  uuid: string,
  shelving: Omit<ShelvingRecord, 'asked_host'>,
): Promise<void> {
  const { image, host, mem_encryption, context } = shelving
  await tx.query(
    'INSERT INTO shelvings (instance_uuid, image, host, mem_encryption, context) VALUES ($1, $2, $3, $4, $5)',
    [uuid, JSON.stringify(image), host, mem_encryption && JSON.stringify(mem_encryption), JSON.stringify(context)],
  )
}

/** Somebody wants it back. */
export async function noteUnshelving(
  tx: Queryable,
  uuid: string,
  { first_attempt, asked_host, context }: Pick<ShelvingRecord, 'first_attempt' | 'asked_host' | 'context'>,
): Promise<void> {
  const sql = 'UPDATE shelvings SET first_attempt = $2, context = $3, asked_host = $4 WHERE instance_uuid = $1'
  await tx.query(sql, [uuid, first_attempt, JSON.stringify(context), asked_host])
}

export async function deleteShelving(tx: Queryable, uuid: string): Promise<void> {
  await tx.query('DELETE FROM shelvings WHERE instance_uuid = $1', [uuid])
}

export async function currentShelving(db: Queryable, uuid: string): Promise<ShelvingRecord | undefined> {
  const sql =
    'SELECT image, host, mem_encryption, first_attempt, asked_host, context FROM shelvings WHERE instance_uuid = $1'
  return (await db.query<ShelvingRecord>(sql, [uuid]))[0]
}
