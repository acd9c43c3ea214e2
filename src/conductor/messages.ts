import { ComputeApi } from '../compute/rpc-api.ts'
import type { ImageMeta } from '../objects/image-meta.ts'
import type { Instance } from '../objects/instance.ts'
import type { LeftDisks } from '../objects/left-disks.ts'
import type { Allocation, Migration } from '../objects/request-spec.ts'
import type { RpcClient } from '../rpc/client.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { newMessageId } from '../rpc/message-id.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import type { MoveRecord } from './migration-store.ts'
import { BUILD_REPORTS, ConductorApi } from './rpc-api.ts'

/** Whose messages in the outbox are the conductors'. */
export const OUTBOX_OWNER = 'conductor'

/** Casts that the conductor stores in its outbox. All of one instance leave in order. */
export interface Sender {
  readonly client: Pick<RpcClient, 'message'>
}

export function continueBuildMessage({ client }: Sender, context: RequestContext, instance: Instance): DurableMessage {
  const args = { instance_uuid: instance.uuid, attempt: instance.attempt }
  return client.message(ConductorApi, 'continueBuild', context, args, { orderingKey: instance.uuid })
}

export function buildMessage(
  { client }: Sender,
  context: RequestContext,
  host: string,
  instance: Instance,
  allocations: readonly Allocation[],
  userData: string | undefined,
): DurableMessage {
  const args = { instance, allocations: [...allocations], ...(userData !== undefined && { user_data: userData }) }
  return client.message(ComputeApi, 'buildAndRunInstance', context, args, toHost(instance, host))
}

interface OneOfBuilds {
  readonly record: { readonly context: RequestContext }
  readonly next: Instance
  readonly allocations: readonly Allocation[]
}

/** Builds of one host, none of which has user data. @throws UnserializableValue: they are too large for one message */
export function buildsMessage({ client }: Sender, ordered: readonly OneOfBuilds[]): DurableMessage {
  const [{ record, next }] = ordered as [OneOfBuilds]
  const builds = ordered.map(buildContent)
  const to = { server: next.host as string, orderingKey: `builds/${newMessageId()}` }
  return client.message(ComputeApi, 'buildAndRunInstances', record.context, { builds, reports_to: BUILD_REPORTS }, to)
}

/** What a message about several builds has of each. */
export function buildContent({ record, next, allocations }: OneOfBuilds) {
  return { context: record.context, instance: next, allocations: [...allocations] }
}

/** @param isVoid the build has lost its claim: remove it and tell nobody */
export function terminateMessage(
  { client }: Sender,
  context: RequestContext,
  host: string,
  instance: Instance,
  isVoid = false,
): DurableMessage {
  return client.message(ComputeApi, 'terminateInstance', context, { instance, void: isVoid }, toHost(instance, host))
}

/** The host is to remove the guest that the instance has left there, and to say when it is gone; nobody else is told. */
export function departureMessage({ client }: Sender, instance: Instance, move: MoveRecord): DurableMessage {
  const isHere = move.dest_host === move.source_host
  const args = {
    ...{ instance: asLeft(instance, move), void: true, migration_uuid: move.uuid },
    ...(isHere && { only_disks_aside: true }),
  }
  const to = toHost(instance, move.source_host)
  return client.message(ComputeApi, 'terminateInstance', move.context, args, to)
}

/** The instance as the host knows it that it has left. */
export function asLeft(instance: Instance, move: MoveRecord): Instance {
  const { source_host: host, source_attempt: attempt, source_encryption: mem_encryption, source_flavor } = move
  return { ...instance, host, attempt, mem_encryption, flavor: source_flavor ?? instance.flavor }
}

/** The instance as it is to be where it goes. */
export function asArriving(instance: Instance, move: MoveRecord): Instance {
  const { dest_host: host, dest_encryption: mem_encryption, new_flavor } = move
  return { ...instance, host, mem_encryption, flavor: new_flavor ?? instance.flavor }
}

/** The instance as a destination knows it that it went back from. */
export function asReverted(instance: Instance, move: MoveRecord): Instance {
  return { ...asArriving(instance, move), attempt: move.dest_attempt ?? instance.attempt }
}

/** The destination is to build the guest on the disks that the source has left. */
export function finishResizeMessage(
  { client }: Sender,
  instance: Instance,
  move: MoveRecord,
  allocations: readonly Allocation[],
  userData: string | undefined,
): DurableMessage {
  const args = {
    instance,
    allocations: [...allocations],
    disks: move.disks as LeftDisks,
    power_on: move.source_vm_state !== 'stopped',
    ...(userData !== undefined && { user_data: userData }),
  }
  return client.message(ComputeApi, 'finishResize', move.context, args, toHost(instance, instance.host as string))
}

/** The host is to make the guest anew from another image. */
export function rebuildMessage(
  { client }: Sender,
  instance: Instance,
  move: MoveRecord,
  allocations: readonly Allocation[],
  userData: string | undefined,
): DurableMessage {
  const args = {
    instance,
    allocations: [...allocations],
    power_on: move.source_vm_state !== 'stopped',
    ...(userData !== undefined && { user_data: userData }),
  }
  return client.message(ComputeApi, 'rebuildInstance', move.context, args, toHost(instance, instance.host as string))
}

/** The destination is to remove the guest, for the instance goes back, and to say when it is gone. */
export function leaveDestinationMessage({ client }: Sender, instance: Instance, move: MoveRecord): DurableMessage {
  const args = { instance, void: true, migration_uuid: move.uuid, keeps_disks_aside: true }
  const to = toHost(instance, move.dest_host as string)
  return client.message(ComputeApi, 'terminateInstance', move.context, args, to)
}

/** The destination is to say whether the guest has come as it ran. */
export function postLiveMessage({ client }: Sender, instance: Instance, move: MoveRecord): DurableMessage {
  const to = toHost(instance, instance.host as string)
  return client.message(ComputeApi, 'postLiveMigrationAtDestination', move.context, { instance }, to)
}

/** The destination is to remove what it has of the guest, which stays where it was, and to say when that is gone. */
export function rollbackLiveMessage({ client }: Sender, there: Instance, move: MoveRecord): DurableMessage {
  const args = { instance: there, migration_uuid: move.uuid }
  const to = toHost(there, there.host as string)
  return client.message(ComputeApi, 'rollbackLiveMigrationAtDestination', move.context, args, to)
}

/** @param failure null: the guest runs */
export function noteBuildMessage(
  { client }: Sender,
  context: RequestContext,
  { uuid, attempt }: Instance,
  host: string,
  failure: string | null,
): DurableMessage {
  const args = { instance_uuid: uuid, attempt, host, failure }
  // Of its own key: what is only counted must not hold back the next try.
  return client.message(SchedulerApi, 'noteBuild', context, args, { orderingKey: `${uuid}/outcome` })
}

/** The host that has made the image of a shelved instance is to remove it; behind what it was told of that. */
export function removeImageMessage(
  { client }: Sender,
  context: RequestContext,
  instance: Instance,
  image: ImageMeta,
  host: string,
): DurableMessage {
  const args = { instance_uuid: instance.uuid, image_id: String(image.id) }
  return client.message(ComputeApi, 'removeShelvedImage', context, args, toHost(instance, host))
}

export function releaseMessage({ client }: Sender, context: RequestContext, instance: Instance): DurableMessage {
  const args = { instance_uuid: instance.uuid, attempt: instance.attempt }
  return client.message(SchedulerApi, 'releaseAllocations', context, args, { orderingKey: instance.uuid })
}

/** What is held of the source goes back: to the host, to the host as soon as it is fenced, or to the instance. */
export function endMoveMessage(
  { client }: Sender,
  move: MoveRecord,
  end: 'confirmMove' | 'finishMove' | 'revertMove',
): DurableMessage {
  const migration: Migration = { uuid: move.uuid, type: move.type }
  const args = { instance_uuid: move.instance_uuid, migration }
  return client.message(SchedulerApi, end, move.context, args, { orderingKey: move.instance_uuid })
}

/** In order on one host; but a host that is away must not hold back what is said to others about the instance. */
export function toHost(instance: Instance, host: string) {
  return { server: host, orderingKey: `${instance.uuid}@${host}` }
}

/** That guests run, for a scheduler to count: all in one message. */
export function noteBuildsMessage(
  { client }: Sender,
  context: RequestContext,
  running: readonly (Instance & { readonly host: string })[],
): DurableMessage {
  const builds = running.map(({ uuid, attempt, host }) => ({ instance_uuid: uuid, attempt, host }))
  return client.message(SchedulerApi, 'noteBuilds', context, { builds }, { orderingKey: `builds/${newMessageId()}` })
}
