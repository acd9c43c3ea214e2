import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Queryable } from '../../database/database.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import type { MemEncryption } from '../../objects/mem-encryption.ts'
import { hostToRebuildOn, leastOfRebuild } from '../../objects/rebuild-rules.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { lastAttempt, startAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { continueBuildMessage } from '../messages.ts'
import { insertMove } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { isMoving, REBUILD } from '../stages.ts'

export interface Rebuild {
  readonly instance_uuid: string
  readonly image: ImageMeta
  /** It may be encrypted less than it is. */
  readonly allow_encryption_loss: boolean
}

/**
 * Starts to make an instance anew from an image, where it is: a move from its host to the same. When it answers that is
 * stored; nothing changes on the host before a scheduler has found that it may, and has claimed what it takes. Asked again
 * while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, InstanceInvalidState, RebuildLosesEncryption, and what flavor and image contradict each other in
 */
export async function acceptRebuild(
  ports: ConductorPorts,
  context: RequestContext,
  { instance_uuid, image, allow_encryption_loss }: Rebuild,
): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance_uuid)
    if (isUnderWay(record, image)) return record.instance
    hostToRebuildOn(record.instance)
    const least = leastOfRebuild(record.instance, image, allow_encryption_loss)
    return begin(ports, tx, context, record.instance, { image, least })
  })
  ports.outbox.announce()
  return instance
}

function isUnderWay({ instance, move }: InstanceRecord, image: ImageMeta): boolean {
  return move?.type === 'rebuild' && isMoving(instance) && isDeepStrictEqual(move.new_image, image)
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  { image, least }: { readonly image: ImageMeta; readonly least: MemEncryption | null },
): Promise<Instance> {
  const at = ports.now()
  const { uuid } = instance
  const host = instance.host as string
  const attempt = (await lastAttempt(tx, uuid)) + 1
  await insertMove(
    tx,
    {
      uuid: randomUUID(),
      instance_uuid: uuid,
      type: 'rebuild',
      source_host: host,
      source_attempt: instance.attempt,
      source_encryption: instance.mem_encryption,
      source_vm_state: instance.vm_state,
      source_image: instance.image,
      new_image: image,
      first_attempt: attempt,
      asked_host: host,
      dest_host: host,
      dest_encryption: least,
      context,
    },
    at,
  )
  const waiting = await changeInstance(ports, tx, { instance, context }, { task_state: REBUILD.waiting, attempt }, at)
  await startAttempt(tx, { uuid, attempt }, at)
  await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, waiting)])
  return waiting
}
