import { randomUUID } from 'node:crypto'
import type { Queryable } from '../database/database.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { lastAttempt, startAttempt } from './attempt-store.ts'
import { changeInstance, findInstance, type InstanceRecord, lockInstance } from './instance-store.ts'
import { continueBuildMessage } from './messages.ts'
import { insertMove } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { refuseDestination } from './refuse-destination.ts'
import { isMoving, LIVE, RESIZE } from './stages.ts'

/** A move of an instance whose host is up. */
export interface AskedMove {
  readonly instance_uuid: string
  readonly type: 'resize' | 'migration' | 'live-migration'
  /** Of a resize; else it keeps its flavor. */
  readonly flavor?: Flavor | undefined
  /** Only to this host. */
  readonly host?: string | undefined
  /** @returns the host that the instance is on @throws why it may not move */
  readonly refuse: (instance: Instance) => string
}

/**
 * The instance looks for another host, and is where it is until that is found and ready. Asked again while it is under way,
 * nothing is done twice.
 *
 * @throws InstanceNotFound, ComputeHostNotFound, InvalidArguments, and what `refuse` throws
 */
export async function acceptMove(
  ports: ConductorPorts,
  context: RequestContext,
  asked: AskedMove,
  signal: AbortSignal,
): Promise<Instance> {
  const { instance_uuid, host, type, refuse } = asked
  const seen = await findInstance(ports.database, instance_uuid)
  if (isUnderWay(seen, asked)) return seen.instance
  const source = refuse(seen.instance)
  if (host !== undefined)
    await refuseDestination(ports, context, { source, asked: host, isResize: type === 'resize' }, signal)
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance_uuid)
    if (isUnderWay(record, asked)) return record.instance
    refuse(record.instance)
    return begin(ports, tx, context, record.instance, asked)
  })
  ports.outbox.announce()
  return instance
}

function isUnderWay({ instance, move }: InstanceRecord, { type, flavor, host }: AskedMove): boolean {
  if (move === undefined || move.status !== 'accepted' || !isMoving(instance)) return false
  return move.type === type && move.new_flavor?.flavorid === flavor?.flavorid && move.asked_host === (host ?? null)
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  { type, flavor, host }: AskedMove,
): Promise<Instance> {
  const at = ports.now()
  const { uuid } = instance
  const attempt = (await lastAttempt(tx, uuid)) + 1
  await insertMove(
    tx,
    {
      uuid: randomUUID(),
      instance_uuid: uuid,
      type,
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
  const { waiting } = type === 'live-migration' ? LIVE : RESIZE
  const leaving = await changeInstance(ports, tx, { instance, context }, { task_state: waiting, attempt }, at)
  await startAttempt(tx, { uuid, attempt }, at)
  await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, leaving)])
  return leaving
}
