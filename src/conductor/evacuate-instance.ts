import { randomUUID } from 'node:crypto'
import type { Queryable } from '../database/database.ts'
import { InstanceInvalidState } from '../errors.ts'
import { isActing } from '../objects/action-rules.ts'
import type { Instance, VmState } from '../objects/instance.ts'
import { launchRequest, refuseDisagreement } from '../objects/launch-request.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { endAction } from './actions/action-store.ts'
import { lastAttempt, startAttempt } from './attempt-store.ts'
import { hostOf } from './host-life.ts'
import { changeInstance, findInstance, type InstanceRecord, lockInstance } from './instance-store.ts'
import { interruptionMessages } from './interrupted.ts'
import { callOffLive } from './live-migration/arrive.ts'
import { backFromFenced, isToSayIfItCame } from './live-migration/fenced-destination.ts'
import { lookThere } from './live-migration/leave-source.ts'
import { continueBuildMessage, endMoveMessage } from './messages.ts'
import { insertMove, type MoveRecord } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'
import { callOffRebuild } from './rebuild/call-off.ts'
import { refuseDestination } from './refuse-destination.ts'
import { hostToLeave, refuseUnlessFenced, serviceInUse } from './refuse-evacuation.ts'
import { callOffResize } from './resize/call-off.ts'
import { removalOfUnfinished } from './shelve/offload.ts'
import { isOnItsHost, REBUILD } from './stages.ts'

export interface Evacuation {
  readonly instance_uuid: string
  /** Only to this host. */
  readonly host?: string | undefined
}

/**
 * Starts to rebuild an instance elsewhere, whose host is dead. When it answers that is stored, and the instance will run
 * at its destination or be where it was, with the reason; what it has on the dead host stays claimed all the while.
 *
 * @throws InstanceNotFound, InstanceInvalidState, ComputeServiceInUse, ComputeHostNotFound, InvalidArguments, and what
 *   flavor and image contradict each other in
 */
export async function evacuateInstance(
  ports: ConductorPorts,
  context: RequestContext,
  { instance_uuid, host: asked }: Evacuation,
  signal: AbortSignal,
): Promise<Instance> {
  const found = await findInstance(ports.database, instance_uuid)
  const seen = found.instance
  const source = hostToLeave(found)
  // By the rules of now: what an earlier release had let through is refused before anything changes.
  refuseDisagreement(launchRequest(seen.flavor, seen.image), seen.mem_encryption)
  const known = await hostOf(ports, context, source, signal)
  if (known?.state === 'up') throw serviceInUse(known)
  const isFenced = known?.fenced === true
  if (isToSayIfItCame(found)) refuseUnlessFenced(seen, isFenced)
  if (asked !== undefined) await refuseDestination(ports, context, { source, asked }, signal)
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance_uuid)
    if (hostToLeave(record) !== source) throw leftMeanwhile(record.instance, source)
    // A dead host does not end its part of a resize either: the instance is its own again before it is brought elsewhere.
    const { move } = record
    if (isToSayIfItCame(record)) refuseUnlessFenced(record.instance, isFenced)
    else await ports.outbox.enqueue(tx, interruptionMessages(ports, record, `host ${source} was down`))
    // Its guest may have gone before its host died: then there is nothing to rebuild.
    if (move !== undefined && record.instance.task_state === 'migrating') {
      await endAction(tx, instance_uuid, 'given up', null, ports.now())
      return lookThere(ports, tx, record, move)
    }
    if (move !== undefined && isToSayIfItCame(record)) return backFromFenced(ports, tx, record, move)
    const reason = `host ${source} was down`
    const instance = move ? await callOff(ports, tx, record, move, reason) : record.instance
    await ports.outbox.enqueue(tx, removalOfUnfinished(ports, record))
    return begin(ports, tx, context, instance, { asked_host: asked ?? null, ...goesBackTo(record) })
  })
  ports.outbox.announce()
  return instance
}

async function callOff(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, move: MoveRecord, reason: string) {
  if (move.type === 'live-migration') return callOffLive(ports, tx, record, move, reason)
  if (move.type !== 'rebuild') return callOffResize(ports, tx, record, move, reason)
  const instance = await callOffRebuild(ports, tx, record, move, reason)
  if (isOnItsHost(record.instance)) await ports.outbox.enqueue(tx, [endMoveMessage(ports, move, 'confirmMove')])
  return instance
}

/** What a rebuild has left at its host is neither the one nor the other: who comes back to it has to look. */
function goesBackTo({ instance, move }: InstanceRecord): Pick<Evacuating, 'source_vm_state'> {
  return move?.type === 'rebuild' && isOnItsHost(instance) ? { source_vm_state: 'error' } : {}
}

function leftMeanwhile({ uuid, host }: Instance, source: string): InstanceInvalidState {
  return new InstanceInvalidState(`instance ${uuid} has moved from ${source} to ${host} meanwhile: look again`, {
    instance_uuid: uuid,
    host,
    fix: `look again: sevbus show ${uuid}`,
  })
}

interface Evacuating {
  readonly asked_host: string | null
  /** Absent: what it is. */
  readonly source_vm_state?: VmState
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
  evacuating: Evacuating,
): Promise<Instance> {
  const at = ports.now()
  const { uuid, host, attempt: sourceAttempt, mem_encryption } = instance
  if (isActing(instance)) await endAction(tx, uuid, 'given up', null, at)
  const attempt = (await lastAttempt(tx, uuid)) + 1
  const changes = { task_state: REBUILD.waiting, host: null, attempt }
  const leaving = await changeInstance(ports, tx, { instance, context }, changes, at)
  const move = {
    uuid: randomUUID(),
    instance_uuid: uuid,
    type: 'evacuation',
    source_host: host as string,
    source_attempt: sourceAttempt,
    source_encryption: mem_encryption,
    first_attempt: attempt,
    ...evacuating,
    context,
  } as const
  await insertMove(tx, move, at)
  await startAttempt(tx, { uuid, attempt }, at)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOfApi().message('instance.evacuate', context, { ...leaving, host }),
    continueBuildMessage(ports, context, leaving),
  ])
  return leaving
}
