import { InstanceInvalidState } from '../errors.ts'
import type { Instance, TaskState, VmState } from './instance.ts'
import type { ActionOutcome, InstanceAction } from './instance-action.ts'

/** What an action needs, and what it makes of the instance. */
export interface ActionRule {
  /** Where the instance has to rest. */
  readonly from: readonly VmState[]
  /** While it is done. */
  readonly task: TaskState
  /** Where the instance rests when it is done. */
  readonly becomes: VmState
  /** Of its notifications: `instance.<event>.start`, `.end` and `.error`. */
  readonly event: 'power_on' | 'power_off'
}

/**
 * Every action by Nova's name, with Nova's rules (`check_instance_state` in nova/compute/api.py). None of them gives a claim
 * back: whatever its guest does, what an instance has on its host stays its own.
 */
const RULES: Readonly<Record<InstanceAction['name'], ActionRule>> = {
  start: { from: ['stopped'], task: 'powering-on', becomes: 'active', event: 'power_on' },
  stop: { from: ['active', 'error'], task: 'powering-off', becomes: 'stopped', event: 'power_off' },
}

export function ruleOf({ name }: InstanceAction): ActionRule {
  return RULES[name]
}

const TASKS: readonly string[] = Object.values(RULES).map(({ task }) => task)

/** Its host is at an action of it, or has been told to be. */
export function isActing({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return task_state !== null && TASKS.includes(task_state)
}

/** @throws InstanceInvalidState, naming what is and what would have to be */
export function refuseAction(instance: Instance, action: InstanceAction): void {
  const { uuid, vm_state, task_state, host } = instance
  const rule = ruleOf(action)
  const flaw = flawOf(instance, rule)
  if (flaw === undefined) return
  const needs = `${action.name} needs an instance that is ${rule.from.join(' or ')}, on a host, and at rest`
  throw new InstanceInvalidState(`instance ${uuid} ${flaw[0]}: ${needs}`, {
    instance_uuid: uuid,
    action: action.name,
    vm_state,
    task_state,
    host,
    allowed: rule.from,
    fix: flaw[1],
  })
}

function flawOf({ uuid, vm_state, task_state, host }: Instance, { from }: ActionRule) {
  const look = `see how it is with: sevbus show ${uuid}`
  if (vm_state === 'deleted') return ['is deleted', 'boot a new one'] as const
  if (task_state === 'deleting') return ['is being deleted', 'boot a new one'] as const
  if (task_state !== null) return [`is ${vm_state} and busy (${task_state})`, `wait until it rests; ${look}`] as const
  if (!from.includes(vm_state)) return [`is ${vm_state}`, look] as const
  if (host === null) return [`is ${vm_state} and on no host`, 'delete it and boot it anew'] as const
  return undefined
}

type GuestState = Extract<ActionOutcome, { result: 'failed' }>['guest']

/** What the guest of an instance that rests does. */
const GUESTS: Partial<Record<VmState, GuestState>> = { active: 'running', stopped: 'shutoff' }

/** Where an instance rests after an action failed: where it was, unless its guest does something else by now. */
export function stateAfterFailure(before: VmState, guest: GuestState): VmState {
  if (GUESTS[before] === guest) return before
  return guest === 'running' ? 'active' : 'error'
}
