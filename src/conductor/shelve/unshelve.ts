import type { Queryable } from '../../database/database.ts'
import { ComputeHostNotFound, InstanceInvalidState, UnshelveHostNotInAZ } from '../../errors.ts'
import type { Fault } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { endAttempt, lastAttempt, startAttempt } from '../attempt-store.ts'
import { hostOf } from '../host-life.ts'
import { changeInstance, type InstanceRecord, lockInstance } from '../instance-store.ts'
import { continueBuildMessage, noteBuildMessage } from '../messages.ts'
import type { ConductorPorts } from '../ports.ts'
import { UNSHELVE } from '../stages.ts'
import { forgetShelved } from './offload.ts'
import { noteUnshelving, type ShelvingRecord } from './shelving-store.ts'

export interface Unshelving {
  readonly instance_uuid: string
  /** In this zone, from now on; null: in any, from now on; undefined: in the one that it was booted for. */
  readonly availability_zone?: string | null | undefined
  /** Only on this host. */
  readonly host?: string | undefined
}

/**
 * Starts to build a shelved instance again, from its image. When it answers that is stored: it will run, or stay shelved, with
 * the reason. Asked again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, InstanceInvalidState, ComputeHostNotFound, UnshelveHostNotInAZ
 */
export async function unshelveInstance(
  ports: ConductorPorts,
  context: RequestContext,
  asked: Unshelving,
  signal: AbortSignal,
): Promise<Instance> {
  const { instance_uuid: uuid, host } = asked
  const zone = host === undefined ? undefined : await zoneOf(ports, context, host, signal)
  const instance = await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, uuid)
    if (isUnderWay(record, asked)) return record.instance
    refuse(record)
    const there = asked.availability_zone === undefined ? record.instance.availability_zone : asked.availability_zone
    if (host !== undefined && there !== null && zone !== there) throw notInZone(uuid, host, zone, there)
    return begin(ports, tx, context, record.instance, { asked_host: host ?? null, availability_zone: there })
  })
  ports.outbox.announce()
  return instance
}

/** @throws ComputeHostNotFound */
async function zoneOf(ports: ConductorPorts, context: RequestContext, host: string, signal: AbortSignal) {
  const found = await hostOf(ports, context, host, signal)
  if (found !== undefined) return found.availability_zone
  const fix = 'see their names with: sevbus hosts'
  throw new ComputeHostNotFound(`no host ${host} has reported`, { host, fix })
}

/** Nova's rule: the zone that is asked for with it, or else the one that it was booted for. */
function notInZone(uuid: string, host: string, zone: string | undefined, asked: string): UnshelveHostNotInAZ {
  const fix = `name a host of ${asked}, or the zone of ${host}, or no zone (--no-availability-zone)`
  return new UnshelveHostNotInAZ(
    `host ${host} is in availability zone ${zone}, and instance ${uuid} is to be in ${asked}; ${fix}`,
    { instance_uuid: uuid, host, availability_zone: asked, zone_of_host: zone, fix },
  )
}

function isUnderWay({ instance, shelving }: InstanceRecord, { availability_zone: zone, host }: Unshelving): boolean {
  const { vm_state, task_state, availability_zone } = instance
  const isSame = (zone === undefined || zone === availability_zone) && shelving?.asked_host === (host ?? null)
  const isBuilding = task_state === UNSHELVE.waiting || task_state === UNSHELVE.onHost
  return vm_state === 'shelved_offloaded' && isBuilding && isSame
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
  { asked_host, availability_zone }: { readonly asked_host: string | null; readonly availability_zone: string | null },
): Promise<Instance> {
  const at = ports.now()
  const { uuid } = instance
  const attempt = (await lastAttempt(tx, uuid)) + 1
  await noteUnshelving(tx, uuid, { first_attempt: attempt, asked_host, context })
  const changes = { task_state: UNSHELVE.waiting, attempt, availability_zone, fault: null } as const
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
