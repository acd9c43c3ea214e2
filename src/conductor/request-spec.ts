import { hot } from '../hot-schema.ts'
import type { Instance } from '../objects/instance.ts'
import { collectInto } from '../objects/judge.ts'
import { memEncryptionRequest } from '../objects/mem-encryption-request.ts'
import { RequestSpec } from '../objects/request-spec.ts'
import { requestFlavor } from '../objects/resource-request.ts'
import type { InstanceRecord } from './instance-store.ts'
import type { MoveRecord } from './migration-store.ts'

/**
 * The question to the scheduler for this try, with the launch's translated flavor. Of a move, and of one
 * that was shelved, it is the launch's again.
 */
export function requestSpec(
  instance: Instance,
  ignoreHosts: readonly string[],
  { move, shelving }: Pick<InstanceRecord, 'move' | 'shelving'> = {},
): RequestSpec {
  // Nothing is refused here: what an earlier release accepted and this one does not, the scheduler refuses by name.
  const flavor = move?.new_flavor ?? instance.flavor
  const image = move?.new_image ?? shelving?.image ?? instance.image
  const encryptions = memEncryptionRequest(flavor, image, collectInto([]))
  return hot(RequestSpec).parse({
    instance_uuid: instance.uuid,
    attempt: instance.attempt,
    project_id: instance.project_id,
    user_id: instance.user_id,
    flavor: requestFlavor(flavor, encryptions),
    image,
    mem_encryption: shelving ? shelving.mem_encryption : encryptionOf(instance, move),
    ...(shelving && { keeps_encryption: true }),
    availability_zone: instance.availability_zone,
    scheduler_hints: instance.scheduler_hints,
    ignore_hosts: ignoreHosts,
    force_hosts: [move?.asked_host ?? shelving?.asked_host ?? []].flat(),
    ...(move && { migration: { uuid: move.uuid, type: move.type } }),
  })
}

/** Of a move that keeps its flavor: what it runs with there is no less. */
export function leastOf({ type, source_encryption, dest_encryption }: MoveRecord) {
  return type === 'rebuild' ? dest_encryption : source_encryption
}

/** With another flavor it is what that asks for, else what the instance has. */
function encryptionOf({ mem_encryption, image }: Instance, move?: MoveRecord) {
  if (move === undefined) return mem_encryption
  if (move.new_flavor === null) return leastOf(move)
  return memEncryptionRequest(move.new_flavor, image, collectInto([]))[0] ?? null
}
