import type { Queryable } from '../../database/database.ts'
import { InstanceInvalidState } from '../../errors.ts'
import type { Fault } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { endAttempt, lastAttempt, startAttempt } from '../attempt-store.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { continueBuildMessage, noteBuildMessage } from '../messages.ts'
import type { ConductorPorts } from '../ports.ts'
import { UNSHELVE } from '../stages.ts'
import { forgetShelved } from './offload.ts'
import { noteUnshelving, type ShelvingRecord } from './shelving-store.ts'

/**
 * Starts to build a shelved instance again, from its image. When it answers that is stored: it will run, or stay shelved, with
 * the reason. Asked again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, InstanceInvalidState
 */
export async function unshelveInstance(
  ports: ConductorPorts,
  context: RequestContext,
  uuid: string,
): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    if (isUnderWay(record)) return record.instance
    refuse(record)
    return begin(ports, tx, context, record.instance)
  })
  ports.outbox.announce()
  return instance
}

function isUnderWay({ instance: { vm_state, task_state } }: InstanceRecord): boolean {
  return vm_state === 'shelved_offloaded' && (task_state === UNSHELVE.waiting || task_state === UNSHELVE.onHost)
}

function refuse({ instance: { uuid, vm_state, task_state, host } }: InstanceRecord): void {
  if (vm_state === 'shelved_offloaded' && task_state === null) return
  const is = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const fix = `see how it is with: sevbus show ${uuid}`
  throw new InstanceInvalidState(
    `instance ${uuid} is ${is}: unshelve needs one that is shelved_offloaded, and at rest; ${fix}`,
    {
      instance_uuid: uuid,
      action: 'unshelve',
      vm_state,
      task_state,
      host,
      allowed: ['shelved_offloaded'],
      fix,
    },
  )
}

async function begin(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  instance: Instance,
): Promise<Instance> {
  const at = ports.now()
  const { uuid } = instance
  const attempt = (await lastAttempt(tx, uuid)) + 1
  await noteUnshelving(tx, uuid, attempt, context)
  const changes = { task_state: UNSHELVE.waiting, attempt, fault: null } as const
  const waiting = await changeInstance(ports, tx, { instance, context }, changes, at)
  await startAttempt(tx, { uuid, attempt }, at)
  await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, waiting)])
  return waiting
}

/** It runs, on a disk of its own: the image is of no use any more. */
export async function unshelved(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  launched_at: string,
): Promise<void> {
  const { instance, context } = record
  const at = ports.now()
  const { uuid, attempt } = instance
  const host = instance.host as string
  const changes = { vm_state: 'active', task_state: null, launched_at, fault: null } as const
  const active = await changeInstance(ports, tx, record, changes, at)
  await endAttempt(tx, { uuid, attempt }, { outcome: 'active', reason: null }, at)
  await ports.outbox.enqueue(tx, [
    ports.events.onBehalfOf(host).message('instance.unshelve.end', context, active),
    noteBuildMessage(ports, context, active, host, null),
    ...(await forgetShelved(ports, tx, record)),
  ])
}

/** What becomes of a build that no host takes. */
export function notBuilt({ shelving }: InstanceRecord, fault: Fault) {
  if (shelving === undefined) return { vm_state: 'error', task_state: null, host: null, fault } as const
  // What it ran with is what it asks for the next time, too.
  const { mem_encryption } = shelving
  return { vm_state: 'shelved_offloaded', task_state: null, host: null, fault, mem_encryption } as const
}

/** As its host is to build it. */
export function asUnshelved(instance: Instance, shelving: ShelvingRecord | undefined): Instance {
  return shelving === undefined ? instance : { ...instance, image: shelving.image }
}
