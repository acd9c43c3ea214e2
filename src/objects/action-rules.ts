import { InstanceInvalidState, OperationNotSupportedForSEV } from '../errors.ts'
import type { Instance, TaskState, VmState } from './instance.ts'
import type { ActionOutcome, InstanceAction } from './instance-action.ts'
import { MEM_ENCRYPTION_MODELS } from './mem-encryption.ts'

/** What an action needs, and what it makes of the instance. */
export interface ActionRule {
  /** Where the instance has to rest. */
  readonly from: readonly VmState[]
  /** What may be under way all the same, and is given up for it. */
  readonly over?: readonly TaskState[]
  /** While it is done. */
  readonly task: TaskState
  /** Where its host may tell it to be after that. */
  readonly stages?: readonly TaskState[]
  /** Where the instance rests when it is done; without it where it was. */
  readonly becomes?: VmState
  /** Of its notifications: `instance.<event>.start`, `.end` and `.error`; absent: who asks for it tells of it. */
  readonly event?:
    | ('power_on' | 'power_off' | 'reboot' | 'pause' | 'unpause' | 'suspend' | 'resume')
    | ('snapshot' | 'rescue' | 'unrescue')
    | ('volume_attach' | 'volume_detach' | 'interface_attach' | 'interface_detach')
    | ('resize' | 'resize_revert' | 'live_migration_rollback' | 'shelve')
  /** QEMU cannot do it to a guest whose memory is encrypted. */
  readonly isForClearGuests?: true
}

/**
 * Every action by Nova's name, with Nova's rules (`check_instance_state` in nova/compute/api.py). None of them gives a claim
 * back: whatever its guest does, what an instance has on its host stays its own. (One that is shelved is given back after that.)
 */
const RULES: Readonly<Record<InstanceAction['name'] | 'hard reboot' | 'revert to off', ActionRule>> = {
  start: { from: ['stopped'], task: 'powering-on', becomes: 'active', event: 'power_on' },
  stop: { from: ['active', 'error'], task: 'powering-off', becomes: 'stopped', event: 'power_off' },
  reboot: { from: ['active'], task: 'rebooting', becomes: 'active', event: 'reboot' },
  // The way out of whatever else hangs.
  'hard reboot': {
    from: ['active', 'stopped', 'paused', 'suspended', 'error'],
    over: [
      ...(['rebooting', 'pausing', 'unpausing', 'suspending', 'resuming'] as const),
      ...(['attaching-volume', 'detaching-volume', 'attaching-interface', 'detaching-interface'] as const),
    ],
    task: 'rebooting_hard',
    becomes: 'active',
    event: 'reboot',
  },
  pause: { from: ['active'], task: 'pausing', becomes: 'paused', event: 'pause' },
  unpause: { from: ['paused'], task: 'unpausing', becomes: 'active', event: 'unpause' },
  suspend: {
    from: ['active'],
    task: 'suspending',
    becomes: 'suspended',
    event: 'suspend',
    isForClearGuests: true,
  },
  resume: { from: ['suspended'], task: 'resuming', becomes: 'active', event: 'resume' },
  attach_volume: { from: ['active', 'paused', 'stopped'], task: 'attaching-volume', event: 'volume_attach' },
  detach_volume: { from: ['active', 'paused', 'stopped'], task: 'detaching-volume', event: 'volume_detach' },
  attach_interface: { from: ['active', 'paused', 'stopped'], task: 'attaching-interface', event: 'interface_attach' },
  detach_interface: { from: ['active', 'paused', 'stopped'], task: 'detaching-interface', event: 'interface_detach' },
  snapshot: {
    from: ['active', 'paused', 'stopped'],
    task: 'image_snapshot',
    stages: ['image_pending_upload', 'image_uploading'],
    event: 'snapshot',
  },
  rescue: { from: ['active', 'stopped', 'error'], task: 'rescuing', becomes: 'rescued', event: 'rescue' },
  unrescue: { from: ['rescued'], task: 'unrescuing', becomes: 'active', event: 'unrescue' },
  shelve: {
    from: ['active', 'paused', 'suspended', 'stopped'],
    task: 'shelving',
    stages: ['shelving_image_pending_upload', 'shelving_image_uploading'],
    becomes: 'shelved',
    event: 'shelve',
  },
  // Parts of a move, which nobody asks for by themselves.
  resize_instance: { from: ['active', 'stopped'], task: 'resize_migrating', becomes: 'resized', event: 'resize' },
  live_migration: { from: ['active'], task: 'migrating' },
  rollback_live_migration: {
    from: ['active'],
    task: 'migrating_reverting',
    becomes: 'active',
    event: 'live_migration_rollback',
  },
  finish_revert_resize: {
    from: ['active'],
    task: 'resize_reverting',
    becomes: 'active',
    event: 'resize_revert',
  },
  'revert to off': { from: ['stopped'], task: 'resize_reverting', becomes: 'stopped', event: 'resize_revert' },
}

export function ruleOf(action: InstanceAction): ActionRule {
  if (action.name === 'reboot' && action.reboot_type === 'HARD') return RULES['hard reboot']
  if (action.name === 'finish_revert_resize' && !action.power_on) return RULES['revert to off']
  return RULES[action.name]
}

const TASKS: readonly string[] = Object.values(RULES).flatMap(({ task, stages = [] }) => [task, ...stages])

/** Its host is at an action of it, or has been told to be. */
export function isActing({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return task_state !== null && TASKS.includes(task_state)
}

/**
 * Encryption is looked at first, as in Nova: no state that the instance could be in would help.
 *
 * @throws OperationNotSupportedForSEV, InstanceInvalidState, naming what is and what would have to be
 */
export function refuseAction(instance: Instance, action: InstanceAction): void {
  const { uuid, vm_state, task_state, host } = instance
  const rule = ruleOf(action)
  if (rule.isForClearGuests) refuseEncrypted(instance, action.name)
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

/** @param operation Nova's name of it @throws OperationNotSupportedForSEV */
export function refuseEncrypted({ uuid, mem_encryption }: Instance, operation: string): void {
  if (mem_encryption === null) return
  const { model } = mem_encryption
  const { label } = MEM_ENCRYPTION_MODELS[model]
  throw new OperationNotSupportedForSEV(
    `operation ${operation} is not supported for instance ${uuid}: it has ${label}`,
    {
      instance_uuid: uuid,
      operation,
      model,
      fix: 'stop and start it instead, or boot one without memory encryption',
    },
  )
}

function flawOf({ uuid, vm_state, task_state, host }: Instance, { from, over = [] }: ActionRule) {
  const look = `see how it is with: sevbus show ${uuid}`
  if (vm_state === 'deleted') return ['is deleted', 'boot a new one'] as const
  if (task_state === 'deleting') return ['is being deleted', 'boot a new one'] as const
  if (task_state !== null && !over.includes(task_state))
    return [`is ${vm_state} and busy (${task_state})`, `wait until it rests; ${look}`] as const
  if (!from.includes(vm_state)) return [`is ${vm_state}`, look] as const
  if (host === null) return [`is ${vm_state} and on no host`, 'delete it and boot it anew'] as const
  return undefined
}

type GuestState = Extract<ActionOutcome, { result: 'failed' }>['guest']

/** What the guest of an instance that rests does. */
const GUESTS: Partial<Record<VmState, GuestState>> = {
  active: 'running',
  paused: 'paused',
  suspended: 'shutoff',
  stopped: 'shutoff',
  rescued: 'running',
  shelved: 'shutoff',
}

/** Does the guest of an instance do what it does when that rests? */
export function isAsItRests(vm_state: VmState, guest: GuestState): boolean {
  return GUESTS[vm_state] === guest
}

/** Where an instance rests after an action failed: where it was, unless its guest does something else by now. */
export function stateAfterFailure(before: VmState, guest: GuestState): VmState {
  if (isAsItRests(before, guest)) return before
  return guest === 'running' ? 'active' : 'error'
}
