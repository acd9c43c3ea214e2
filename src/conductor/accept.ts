import { randomUUID } from 'node:crypto'
import { isDeepStrictEqual } from 'node:util'
import type { Queryable } from '../database/database.ts'
import { InstanceExists, InvalidArguments } from '../errors.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { ImageMeta } from '../objects/image-meta.ts'
import type { Instance } from '../objects/instance.ts'
import type { IpAddress } from '../objects/ip-address.ts'
import { launchRequest } from '../objects/launch-request.ts'
import { NO_HINTS, type SchedulerHints } from '../objects/scheduler-hints.ts'
import { MAX_PAGE_BYTES } from '../rpc/page.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { startAttempt } from './attempt-store.ts'
import { findInstances, type InstanceRecord, insertInstance } from './instance-store.ts'
import { continueBuildMessage } from './messages.ts'
import type { ConductorPorts } from './ports.ts'
import { storeUserData, userDataDigest } from './user-data-store.ts'

export interface BuildRequest {
  readonly name: string
  readonly flavor: Flavor
  readonly image: ImageMeta
  readonly count: number
  readonly min_count?: number | undefined
  readonly instance_uuids?: readonly string[] | undefined
  readonly ip_addresses: readonly IpAddress[]
  readonly availability_zone?: string | undefined
  readonly scheduler_hints?: SchedulerHints | undefined
  readonly config_drive?: boolean | undefined
  readonly user_data?: string | undefined
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
  const batch = isAllOrNothing(request) ? randomUUID() : null
  const [only] = drafts
  if (only !== undefined && drafts.length === 1 && request.user_data === undefined) {
    const record = { instance: only, context, batch, userDataDigest: null }
    if (await ports.steps.begin({ record, messages: acceptedMessages(ports, context, only) })) return drafts
  }
  const isNew = await ports.database
    .transaction((tx) => store(ports, tx, context, drafts, batch, request.user_data))
    .catch((error: unknown) => {
      if (error === ALREADY_STORED) return false
      throw error
    })
  ports.outbox.announce()
  if (isNew) return drafts
  const uuids = drafts.map(({ uuid }) => uuid)
  return repeated(await findInstances(ports.database, uuids), drafts, request.user_data)
}

/** Rolls the transaction back: one of the uuids is there, maybe since a moment ago. */
const ALREADY_STORED = new Error('already stored')

async function store(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  drafts: readonly Instance[],
  batch: string | null,
  userData: string | undefined,
) {
  for (const instance of drafts) {
    const record = { instance, context, batch, userDataDigest: userDataDigest(userData) }
    if (!(await insertInstance(tx, record))) throw ALREADY_STORED
    if (userData !== undefined) await storeUserData(tx, instance.uuid, userData)
    await startAttempt(tx, { uuid: instance.uuid, attempt: 1 }, ports.now())
    await ports.outbox.enqueue(tx, ports.events.update(context, undefined, instance))
  }
  // Of a batch the first one leads.
  const leaders = batch === null ? drafts : drafts.slice(0, 1)
  const messages = leaders.map((instance) => continueBuildMessage(ports, context, instance))
  await ports.outbox.enqueue(tx, messages)
  return true
}

function acceptedMessages(ports: ConductorPorts, context: RequestContext, accepted: Instance) {
  return [...ports.events.update(context, undefined, accepted), continueBuildMessage(ports, context, accepted)]
}

/** Found for together, in one question to the scheduler, and claimed in one step. */
const MAX_BATCH = 100

/** @throws InvalidArguments */
function isAllOrNothing({ count, min_count = 1 }: BuildRequest): boolean {
  if (min_count === 1) return false
  if (min_count === count && count <= MAX_BATCH) return true
  const [problem, fix] =
    min_count === count
      ? [`at most ${MAX_BATCH} can be all or nothing`, `ask for at most ${MAX_BATCH} at a time`]
      : [
          'some of them without the rest is not offered',
          'write min_count 1 for as many as fit, or as much as count for all or nothing',
        ]
  throw new InvalidArguments(`min_count is ${min_count} of count ${count}, but ${problem}; ${fix}`, {
    field: 'min_count',
    value: min_count,
    fix,
  })
}

/** Notifications carry an instance several times over, and must fit into a message. */
const MAX_INSTANCE_BYTES = 256 * 1024

/** The reply carries them all: what would not fit into one message is refused before anything is stored. */
function refuseTooLarge(drafts: readonly Instance[]): void {
  const bytes = Buffer.byteLength(JSON.stringify(drafts[0]))
  if (bytes > MAX_INSTANCE_BYTES) {
    throw new InvalidArguments(
      `flavor and image have ${bytes} bytes together; at most ${MAX_INSTANCE_BYTES} are taken`,
      {
        field: 'flavor, image',
        value: bytes,
        fix: 'leave out extra specs or image properties that nobody needs',
      },
    )
  }
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
  const [best] = launchRequest(request.flavor, request.image).choices
  const given = request.instance_uuids?.map((uuid) => uuid.toLowerCase())
  const uuids = given ?? Array.from({ length: request.count }, () => randomUUID())
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
    uuid,
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
    mem_encryption: best.encryption ?? null,
    availability_zone: request.availability_zone ?? null,
    scheduler_hints: request.scheduler_hints ?? NO_HINTS,
    ip_addresses: [...request.ip_addresses],
    config_drive: wantsConfigDrive(request),
    volumes: [],
    interfaces: [],
    fault: null,
    created_at: at,
    updated_at: at,
    launched_at: null,
    terminated_at: null,
  }))
}

/** There is no other way to it: guests here have no metadata service. @throws InvalidArguments */
function wantsConfigDrive({ config_drive, user_data }: BuildRequest): boolean {
  if (user_data === undefined || config_drive !== false) return config_drive ?? user_data !== undefined
  const fix = 'leave config_drive out, or user_data'
  throw new InvalidArguments(`config_drive is false, but user_data reaches a guest only by it; ${fix}`, {
    field: 'config_drive',
    value: false,
    fix,
  })
}

/** The same request again is answered as the first time; another one under the same uuid is refused. */
function repeated(known: readonly InstanceRecord[], drafts: readonly Instance[], userData: string | undefined) {
  const digest = userDataDigest(userData)
  for (const draft of drafts) {
    const stored = known.find(({ instance }) => instance.uuid === draft.uuid)
    if (stored?.userDataDigest === digest && isDeepStrictEqual(asked(stored.instance), asked(draft))) continue
    throw new InstanceExists(`instance_uuids: ${draft.uuid} belongs to a request that was another`, {
      instance_uuid: draft.uuid,
      fix: 'repeat the request unchanged, or choose new uuids',
    })
  }
  return known.map(({ instance }) => instance)
}

function asked(instance: Instance) {
  const { uuid, name, flavor, image, availability_zone, scheduler_hints, ip_addresses, config_drive } = instance
  return { uuid, name, flavor, image, availability_zone, scheduler_hints, ip_addresses, config_drive }
}
