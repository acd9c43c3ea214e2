import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import { InstanceExists, InvalidArguments } from '../errors.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { ImageMeta } from '../objects/image-meta.ts'
import type { Instance, IpAddress } from '../objects/instance.ts'
import { memEncryptionRequest } from '../objects/mem-encryption-request.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { startAttempt } from './attempt-store.ts'
import { findInstances, type InstanceRecord, insertInstance, MAX_PAGE_BYTES } from './instance-store.ts'
import { continueBuildMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'

export interface BuildRequest {
  readonly name: string
  readonly flavor: Flavor
  readonly image: ImageMeta
  readonly count: number
  readonly instance_uuids?: readonly string[] | undefined
  readonly ip_addresses: readonly IpAddress[]
}

/**
 * Stores the instances and the message that starts their build in one transaction: from then on any conductor can go
 * on with them, whatever dies.
 *
 * @throws a typed refusal before anything is stored when flavor and image contradict each other
 */
export async function acceptInstances(
  ports: ConductorPorts,
  context: RequestContext,
  request: BuildRequest,
): Promise<Instance[]> {
  const drafts = draftInstances(request, context, ports.now())
  refuseTooLarge(drafts)
  const uuids = drafts.map(({ uuid }) => uuid)
  const stored = await ports.database.transaction(async (tx) => {
    const known = await findInstances(tx, uuids)
    if (known.length > 0) return repeated(known, drafts)
    for (const instance of drafts) {
      await insertInstance(tx, { instance, context })
      await startAttempt(tx, { uuid: instance.uuid, attempt: 1 }, ports.now())
    }
    await ports.outbox.enqueue(
      tx,
      drafts.map((instance) => continueBuildMessage(ports, context, instance)),
    )
    return drafts
  })
  ports.outbox.announce()
  return stored
}

/** The reply carries them all: what would not fit into one message is refused before anything is stored. */
function refuseTooLarge(drafts: readonly Instance[]): void {
  const bytes = Buffer.byteLength(JSON.stringify(drafts[0]))
  const fits = Math.floor(MAX_PAGE_BYTES / bytes)
  if (drafts.length <= fits) return
  throw new InvalidArguments(
    `count is ${drafts.length}; with ${bytes} bytes each, ${fits} instances fit into one answer`,
    {
      field: 'count',
      value: drafts.length,
      fix: `ask for at most ${fits} at a time`,
    },
  )
}

function draftInstances(request: BuildRequest, context: RequestContext, now: Date): Instance[] {
  const encryption = memEncryptionRequest(request.flavor, request.image) ?? null
  const uuids = request.instance_uuids ?? Array.from({ length: request.count }, () => randomUUID())
  if (uuids.length !== request.count || new Set(uuids).size !== uuids.length) {
    throw new InvalidArguments(
      `instance_uuids has ${uuids.length} entries for count ${request.count}, each must be another`,
      {
        field: 'instance_uuids',
        value: uuids.length,
        fix: 'give as many different uuids as instances, or none',
      },
    )
  }
  const at = now.toISOString()
  return uuids.map((uuid, index) => ({
    uuid: uuid.toLowerCase(),
    // Nova's default names of a batch: name-1, name-2, …
    name: request.count === 1 ? request.name : `${request.name}-${index + 1}`,
    project_id: context.project_id ?? null,
    user_id: context.user_id ?? null,
    vm_state: 'building',
    task_state: 'scheduling',
    host: null,
    attempt: 1,
    flavor: request.flavor,
    image: request.image,
    mem_encryption: encryption,
    ip_addresses: [...request.ip_addresses],
    fault: null,
    created_at: at,
    updated_at: at,
    launched_at: null,
    terminated_at: null,
  }))
}

/** The same request again is answered as the first time; another one under the same uuid is refused. */
function repeated(known: readonly InstanceRecord[], drafts: readonly Instance[]): Instance[] {
  for (const draft of drafts) {
    const stored = known.find(({ instance }) => instance.uuid === draft.uuid)?.instance
    if (stored && isDeepStrictEqual(asked(stored), asked(draft))) continue
    throw new InstanceExists(`instance_uuids: ${draft.uuid} belongs to a request that was another`, {
      instance_uuid: draft.uuid,
      fix: 'repeat the request unchanged, or choose new uuids',
    })
  }
  return known.map(({ instance }) => instance)
}

function asked({ uuid, name, flavor, image, ip_addresses }: Instance) {
  return { uuid, name, flavor, image, ip_addresses }
}
