import { randomUUID } from 'node:crypto'
import type { Queryable } from '../../database/database.ts'
import { InstanceInvalidState } from '../../errors.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { Instance } from '../../objects/instance.ts'
import { encryptionOfResize, hostToMoveFrom, refuseLostEncryption } from '../../objects/resize-rules.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { lastAttempt, startAttempt } from '../attempt-store.ts'
import { changeInstance, findInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { continueBuildMessage } from '../messages.ts'
import { insertMove, type MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { refuseDestination } from '../refuse-destination.ts'
import { isMoving, RESIZE } from '../stages.ts'

export interface Resize {
  readonly instance_uuid: string
  /** Absent: it keeps its flavor, and goes to another host. */
  readonly flavor?: Flavor | undefined
  /** Only to this host. */
  readonly host?: string | undefined
}

/**
 * Starts to bring an instance that rests to another host, or to another size. When it answers that is stored, and the
 * instance will be `resized`, or be where it was, with the reason. Its guest goes off only when a host has a place for it
 * and has said that it can take it. Asked again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, InstanceInvalidState, CannotResizeToSameFlavor, CannotResizeDisk, ComputeHostNotFound,
 *   InvalidArguments, and what flavor and image contradict each other in
 */
export async function acceptResize(
  ports: ConductorPorts,
  context: RequestContext,
  asked: Resize,
  signal: AbortSignal,
): Promise<Instance> {
  const { instance_uuid, host } = asked
  const seen = await findInstance(ports.database, instance_uuid)
  if (isUnderWay(seen, asked)) return seen.instance
  const source = refuse(seen.instance, asked)
  if (host !== undefined)
    await refuseDestination(ports, context, { source, asked: host, isResize: isResize(asked) }, signal)
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance_uuid)
    if (isUnderWay(record, asked)) return record.instance
    refuse(record.instance, asked)
    return begin(ports, tx, context, record.instance, asked)
  })
  ports.outbox.announce()
  return instance
}

function isResize({ flavor }: Resize): boolean {
  return flavor !== undefined
}

function isUnderWay({ instance, move }: InstanceRecord, { flavor, host }: Resize): boolean {
  if (move === undefined || move.status !== 'accepted' || !isMoving(instance)) return false
  if (move.type !== (flavor === undefined ? 'migration' : 'resize')) return false
  return move.new_flavor?.flavorid === flavor?.flavorid && move.asked_host === (host ?? null)
}

/** @returns the host that it is on */
function refuse(instance: Instance, { flavor }: Resize): string {
  const source = hostToMoveFrom(instance, flavor === undefined ? 'migrate' : 'resize')
  if (flavor === undefined) refuseLostEncryption(instance)
  else encryptionOfResize(instance, flavor)
  return source
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  { flavor, host }: Resize,
): Promise<Instance> {
  const at = ports.now()
  const { uuid } = instance
  const attempt = (await lastAttempt(tx, uuid)) + 1
  await insertMove(
    tx,
    {
      uuid: randomUUID(),
      instance_uuid: uuid,
      type: flavor === undefined ? 'migration' : 'resize',
      source_host: instance.host as string,
      source_attempt: instance.attempt,
      source_encryption: instance.mem_encryption,
      source_vm_state: instance.vm_state,
      ...(flavor !== undefined && { source_flavor: instance.flavor, new_flavor: flavor }),
      first_attempt: attempt,
      asked_host: host ?? null,
      context,
    },
    at,
  )
  const leaving = await changeInstance(ports, tx, { instance, context }, { task_state: RESIZE.waiting, attempt }, at)
  await startAttempt(tx, { uuid, attempt }, at)
  await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, leaving)])
  return leaving
}

/** @throws InstanceInvalidState when there is nothing to decide about */
export function moveToDecide({ instance, move }: InstanceRecord, what: 'confirm' | 'revert'): MoveRecord {
  const { uuid, vm_state, task_state } = instance
  if (vm_state === 'resized' && task_state === null && move?.status === 'finished') return move
  const is = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const fix = `wait until it is resized; see how it is with: sevbus show ${uuid}`
  throw new InstanceInvalidState(`instance ${uuid} is ${is}: there is no resize to ${what}; ${fix}`, {
    instance_uuid: uuid,
    vm_state,
    task_state,
    allowed: ['resized'],
    fix,
  })
}
