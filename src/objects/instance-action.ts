import { z } from 'zod'
import { AttachedInterface, Volume } from './attached-devices.ts'
import { Fault } from './fault.ts'
import { SeenGuestState } from './guest-deviation.ts'
import { HostName } from './host-report.ts'
import { ImageMeta } from './image-meta.ts'
import { Mac } from './ip-address.ts'
import { LeftDisks, StorageId } from './left-disks.ts'
import { LiveMigrateData } from './live-migrate-data.ts'
import { text } from './text.ts'

/** What somebody wants of a live migration that is under way: that it is given up, or that it ends whatever that costs the guest. */
export const MigrationOrder = z.enum(['abort', 'force_complete'])
export type MigrationOrder = z.infer<typeof MigrationOrder>

/**
 * What is asked to be done to an instance that lives, with what was asked for beside it. Names are Nova's
 * (nova/compute/instance_actions.py).
 */
export const InstanceAction = z.discriminatedUnion('name', [
  z.object({ name: z.literal('start') }),
  z.object({
    name: z.literal('stop'),
    /** The guest is asked to shut down before its power is taken. */
    clean_shutdown: z.boolean(),
    /** What its guest did while the instance was to do something else: nobody asked for this stop. */
    observed: SeenGuestState.optional(),
  }),
  z.object({
    name: z.literal('reboot'),
    /** Soft: the guest is asked to shut down first. Either way it is a new start: nobody can reset the processors of SEV-ES. */
    reboot_type: z.enum(['SOFT', 'HARD']),
  }),
  z.object({ name: z.literal('pause') }),
  z.object({ name: z.literal('unpause') }),
  z.object({ name: z.literal('suspend') }),
  z.object({ name: z.literal('resume') }),
  z.object({ name: z.literal('attach_volume'), volume: Volume }),
  z.object({ name: z.literal('detach_volume'), volume_id: z.guid() }),
  z.object({ name: z.literal('attach_interface'), interface: AttachedInterface }),
  z.object({ name: z.literal('detach_interface'), mac: Mac }),
  /** With what the image is to say. */
  z.object({ name: z.literal('snapshot'), image: ImageMeta }),
  /** With what it is to boot from. */
  z.object({ name: z.literal('rescue'), image: ImageMeta }),
  z.object({ name: z.literal('unrescue') }),
  /** With what the image of its disk is to say. */
  z.object({ name: z.literal('shelve'), clean_shutdown: z.boolean(), image: ImageMeta }),
  /** At the source of a resize or cold migration: the guest goes off, and its disks are made ready to be taken. */
  z.object({
    name: z.literal('resize_instance'),
    clean_shutdown: z.boolean(),
    /** Where the destination looks for disks: it must be the same as here. */
    storage: StorageId,
  }),
  /** At the source of a live migration: the guest goes to the destination, which has prepared for it, as it runs. */
  z.object({
    name: z.literal('live_migration'),
    dest: HostName,
    migrate_data: LiveMigrateData,
    /** What was asked for since. */
    orders: z.array(MigrationOrder).optional(),
  }),
  /** At the source again, for the guest has not come to the destination: it runs here as before. */
  z.object({ name: z.literal('rollback_live_migration') }),
  /** At the source again: the guest is as it was before. */
  z.object({
    name: z.literal('finish_revert_resize'),
    /** It ran. */
    power_on: z.boolean(),
  }),
])
export type InstanceAction = z.infer<typeof InstanceAction>

/** What only the host can tell of an action that is done. */
export const ActionResult = z.object({
  /** Of a volume that was attached: the name of its disk in the guest's document. */
  device: text(16).optional(),
  /** Of a snapshot: its bytes in the store. */
  image_bytes: z.int().min(0).optional(),
  /** Of a guest that leaves this host. */
  disks: LeftDisks.optional(),
})
export type ActionResult = z.infer<typeof ActionResult>

/** How an action ended on its host: a fact, written there before it is told. */
export const ActionOutcome = z.discriminatedUnion('result', [
  z.object({ result: z.literal('done'), ...ActionResult.shape }),
  z.object({
    result: z.literal('failed'),
    fault: Fault,
    /** What the guest does after it; `missing`: the host has no guest of the instance. */
    guest: SeenGuestState,
  }),
])
export type ActionOutcome = z.infer<typeof ActionOutcome>

/** One action of an instance, as `explain` shows it. */
export const ActionRecord = z.object({
  /** Grows with each action of the instance; what comes late of an earlier one is known by it. */
  number: z.int().min(1),
  action: InstanceAction,
  /** `given up`: a deletion, an evacuation, or another action took its place. */
  status: z.enum(['accepted', 'completed', 'failed', 'given up']),
  fault: Fault.nullable(),
  /** Of one that is completed; absent: the conductor is older than 1.4. */
  result: ActionResult.nullable().optional(),
  request_id: z.string().max(255).nullable(),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
})
export type ActionRecord = z.infer<typeof ActionRecord>
