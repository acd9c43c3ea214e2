import { z } from 'zod'
import { AttachedInterface, AttachedVolume } from './attached-devices.ts'
import { AvailabilityZone } from './availability-zone.ts'
import { Fault } from './fault.ts'
import { Flavor } from './flavor.ts'
import { HostName } from './host-report.ts'
import { ImageMeta } from './image-meta.ts'
import { IpAddress } from './ip-address.ts'
import { MemEncryption, MemEncryptionModel } from './mem-encryption.ts'
import { Allocation } from './request-spec.ts'
import { NO_HINTS, SchedulerHints } from './scheduler-hints.ts'
import { SchedulingReport } from './scheduling-report.ts'
import { text } from './text.ts'

/** Nova's vm_state: where the instance rests. */
export const VmState = z.enum([
  ...(['building', 'active', 'paused', 'suspended', 'stopped'] as const),
  ...(['rescued', 'resized', 'shelved', 'shelved_offloaded', 'error', 'deleted'] as const),
])
export type VmState = z.infer<typeof VmState>

/**
 * Nova's task_state: what is being done to it; null when nothing is. A new instance waits for a host (`scheduling`) and is
 * booted there (`spawning`); one that is evacuated, or rebuilt where it is, stays as it is and goes by the same steps. One that is resized, or
 * migrated, looks for a host (`resize_prep`), leaves its own (`resize_migrating`) and is built at the other
 * (`resize_finish`). One that is migrated live does the same by `migrating_prep`, `migrating` and `migrating_finish`, which are
 * all `migrating` in Nova. One that is unshelved looks for a host (`unshelving`) and is booted there (`spawning`). The others are of actions (`action-rules.ts`); those of
 * devices are no words of Nova's, which has none for them.
 */
const TaskState = z.enum([
  'scheduling',
  'spawning',
  'rebuilding',
  'rebuild_spawning',
  'resize_prep',
  'resize_migrating',
  'resize_migrated',
  'resize_finish',
  'resize_confirming',
  'resize_reverting',
  'migrating_prep',
  'migrating',
  'migrating_finish',
  'migrating_reverting',
  'powering-off',
  'powering-on',
  'rebooting',
  'rebooting_hard',
  'pausing',
  'unpausing',
  'suspending',
  'resuming',
  'attaching-volume',
  'detaching-volume',
  'attaching-interface',
  'detaching-interface',
  'image_snapshot',
  'image_pending_upload',
  'image_uploading',
  'rescuing',
  'unrescuing',
  'shelving',
  'shelving_image_pending_upload',
  'shelving_image_uploading',
  'shelving_offloading',
  'unshelving',
  'deleting',
])
export type TaskState = z.infer<typeof TaskState>

/** Every change of state that may happen; anything else is a defect, and is refused. */
const TRANSITIONS: Readonly<Record<VmState, readonly VmState[]>> = {
  building: ['building', 'active', 'error', 'deleted'],
  active: ['active', 'paused', 'suspended', 'stopped', 'rescued', 'resized', 'shelved', 'error', 'deleted'],
  paused: ['active', 'paused', 'stopped', 'shelved', 'error', 'deleted'],
  suspended: ['active', 'suspended', 'stopped', 'shelved', 'error', 'deleted'],
  stopped: ['active', 'stopped', 'rescued', 'resized', 'shelved', 'error', 'deleted'],
  rescued: ['active', 'rescued', 'error', 'deleted'],
  // At its destination, until somebody decides whether it stays there.
  resized: ['active', 'stopped', 'resized', 'error', 'deleted'],
  // Its disk is an image; its host is about to let go of it.
  shelved: ['shelved', 'shelved_offloaded', 'deleted'],
  // On no host, until it is built from that image again.
  shelved_offloaded: ['active', 'shelved_offloaded', 'deleted'],
  // With a guest on a host it can be mended; without one only be deleted.
  error: ['active', 'stopped', 'rescued', 'error', 'deleted'],
  deleted: [],
}

export function canBecome(from: VmState, to: VmState): boolean {
  return TRANSITIONS[from].includes(to)
}

/** ISO 8601 in UTC with `Z`. Objects that workers pass on are read leniently: a newer one may have more fields. */
const Timestamp = z.iso.datetime()

export const Instance = z.object({
  uuid: z.guid(),
  name: text(255).min(1),
  project_id: z.string().max(255).nullable(),
  user_id: z.string().max(255).nullable(),
  vm_state: VmState,
  task_state: TaskState.nullable(),
  /** Null until a host was found, after the instance left it, and while it looks for another. */
  host: HostName.nullable(),
  attempt: z.int().min(1),
  /** As given by the API tier, frozen with the instance. */
  flavor: Flavor,
  image: ImageMeta,
  /**
   * Decided from flavor and image; null: runs in clear. Of several models that will do it is the best until a host is
   * found, and then the one that has the slot.
   */
  mem_encryption: MemEncryption.nullable(),
  /** As asked for; null: in any. */
  availability_zone: AvailabilityZone.nullable().default(null),
  scheduler_hints: SchedulerHints.default(NO_HINTS),
  ip_addresses: z.array(IpAddress).max(64),
  /** Asked for with the request; its image, or a host's operator, may want one all the same. */
  config_drive: z.boolean().default(false),
  /** Attached since, in this order. */
  volumes: z.array(AttachedVolume).default([]),
  interfaces: z.array(AttachedInterface).default([]),
  fault: Fault.nullable(),
  created_at: Timestamp,
  updated_at: Timestamp,
  launched_at: Timestamp.nullable(),
  terminated_at: Timestamp.nullable(),
})
export type Instance = z.infer<typeof Instance>

/** Where an instance is and what is done to it: what an audit compares. */
export const InstanceState = z.object({
  ...Instance.pick({ uuid: true, name: true, vm_state: true, task_state: true, host: true, attempt: true }).shape,
  /** Null: it runs in clear. */
  model: MemEncryptionModel.nullable(),
  updated_at: Timestamp,
  /** The host that it has left, until it is decided whether it stays where it is: what it has there waits for it. */
  leaving: HostName.nullable().default(null),
  /** Something about it has not left the conductors yet: a release of its claim, for one. */
  messages_waiting: z.boolean(),
  /** The same, for these hosts: a build that is ordered by itself, or a termination, which whatever takes its place sends as well. */
  hosts_waiting: z.array(HostName),
  /** The number of the last thing that was done to it, 0: nothing yet. Absent: the conductor is older than 1.3. */
  last_action: z.int().min(0).optional(),
})
export type InstanceState = z.infer<typeof InstanceState>

/** One try to build an instance, as `explain` shows it. */
export const BuildAttempt = z.object({
  attempt: z.int().min(1),
  host: HostName.nullable(),
  /** Evacuated: its guest was left behind on a host that was down; moved and reverted: the guest of the other end lives on; rebuilt: another took its place here; shelved: it was given back, and its disk kept as an image. */
  outcome: z.enum([
    ...(['scheduling', 'spawning', 'active', 'failed', 'no valid host', 'aborted', 'evacuated'] as const),
    ...(['moved', 'reverted', 'rebuilt', 'shelved'] as const),
  ]),
  reason: z.string().max(4000).nullable(),
  allocations: z.array(Allocation),
  report: SchedulingReport.nullable(),
  started_at: Timestamp,
  ended_at: Timestamp.nullable(),
})
export type BuildAttempt = z.infer<typeof BuildAttempt>
