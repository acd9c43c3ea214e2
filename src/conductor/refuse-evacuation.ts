import { ComputeServiceInUse, InstanceInvalidState } from '../errors.ts'
import { isActing } from '../objects/action-rules.ts'
import type { HostSummary } from '../objects/host-report.ts'
import type { Instance, VmState } from '../objects/instance.ts'
import type { InstanceRecord } from './instance-store.ts'
import { isStillAtSource } from './resize/call-off.ts'
import { isMoving, LIVE } from './stages.ts'

/**
 * Nova's three, and others that nothing else could bring back from a dead host. What stopped stays so; all others run when
 * they have arrived, built from their own image: a rescue is over with that, and memory that was paused or saved is lost.
 */
const EVACUATED: ReadonlySet<VmState> = new Set(['active', 'stopped', 'error', 'paused', 'suspended', 'rescued'])

/**
 * Only what rests on a host can be evacuated from it.
 *
 * @returns the host
 * @throws InstanceInvalidState
 */
export function hostToLeave(record: InstanceRecord): string {
  const { instance } = record
  const { uuid, host, vm_state, task_state } = instance
  const canMove = EVACUATED.has(vm_state)
  // A dead host will never end what it was told to do.
  const isOver = record.move === undefined ? isActing(instance) : canBeCalledOff(record)
  if (canMove && (task_state === null || isOver) && host !== null) return host
  const [is, fix] = obstacle(instance)
  throw new InstanceInvalidState(`instance ${uuid} ${is} and cannot be evacuated: ${fix}`, {
    instance_uuid: uuid,
    vm_state,
    task_state,
    host,
    fix,
  })
}

function canBeCalledOff(record: InstanceRecord): boolean {
  return record.move?.type === 'rebuild' || isStillAtSource(record) || isGoingLive(record.instance)
}

/** Wherever its guest runs: one of the two hosts can be asked, or is left. */
function isGoingLive({ task_state }: Instance): boolean {
  return task_state === LIVE.waiting || task_state === 'migrating' || task_state === LIVE.onHost
}

function obstacle(instance: Instance): readonly [is: string, fix: string] {
  const { uuid, vm_state, task_state } = instance
  const explain = `see how far it is with: sevbus explain ${uuid}`
  if (vm_state === 'deleted') return ['is deleted', 'boot a new one']
  if (task_state === 'deleting') return ['is being deleted', 'boot a new one']
  if (isMoving(instance)) return [`is being moved already (${task_state})`, explain]
  if (vm_state === 'building') {
    return [`is being built (${task_state})`, `its build is tried elsewhere by itself; ${explain}`]
  }
  if (vm_state === 'shelved_offloaded') return ['is shelved', `unshelve it: sevbus unshelve ${uuid}`]
  if (vm_state === 'shelved') return ['is being shelved', `its host is about to let go of it; ${explain}`]
  if (vm_state === 'resized') {
    return ['is resized, which is not decided,', `go back first: sevbus resize-revert ${uuid}`]
  }
  return [`is in ${vm_state} and on no host`, 'delete it and boot it anew']
}

/**
 * Whether its guest runs there only its host can say: while that may have power it is built nowhere else.
 *
 * @throws InstanceInvalidState
 */
export function refuseUnlessFenced({ uuid, task_state, host }: Instance, isFenced: boolean): void {
  if (isFenced) return
  const fix = `wait until ${host} is back, which says then whether it has; if its machine has no power, say so: sevbus host set ${host} --fenced`
  throw new InstanceInvalidState(
    `instance ${uuid} may have come to ${host} as it ran (${task_state}), and cannot be evacuated: ${fix}`,
    { instance_uuid: uuid, task_state, host, fix },
  )
}

/** Nova's ComputeServiceInUse. */
export function serviceInUse({ host, last_seen_up }: HostSummary): ComputeServiceInUse {
  const fix = `if it is dead all the same, see that it stays off, and say so: sevbus host set ${host} --forced-down`
  return new ComputeServiceInUse(`the compute service of host ${host} is up (last report ${last_seen_up}); ${fix}`, {
    host,
    last_seen_up,
    fix,
  })
}
