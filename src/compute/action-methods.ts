import { z } from 'zod'
import { AttachedInterface, Volume } from '../objects/attached-devices.ts'
import { HostName } from '../objects/host-report.ts'
import { ImageMeta } from '../objects/image-meta.ts'
import { Instance } from '../objects/instance.ts'
import { Mac } from '../objects/ip-address.ts'
import { StorageId } from '../objects/left-disks.ts'
import { LiveMigrateData } from '../objects/live-migrate-data.ts'
import { cast } from '../rpc/contract.ts'

/** The instance as last stored, and the number of the action among all of that instance. */
const ofInstance = { instance: Instance, number: z.int().min(1) }
const output = z.null()

/** What is done to guests that are there: the part of the worker's door that is about actions. */
export const actionMethods = {
  startInstance: cast({
    wire: 'start_instance',
    since: '1.2',
    summary:
      'Defines the guest anew and starts it, and proves its encryption; running already, it is only proven. Accepted once written to the journal; report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  stopInstance: cast({
    wire: 'stop_instance',
    since: '1.2',
    summary:
      'Powers the guest off, asking it to shut down first unless `clean_shutdown` is false. Accepted once written to the journal; report_action tells its end.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true) }),
    output,
  }),
  rebootInstance: cast({
    wire: 'reboot_instance',
    since: '1.2',
    summary:
      'Powers the guest off, SOFT asking it to shut down first, and starts it as start_instance does. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, reboot_type: z.enum(['SOFT', 'HARD']).default('SOFT') }),
    output,
  }),
  pauseInstance: cast({
    wire: 'pause_instance',
    since: '1.2',
    summary: 'Has the processors of the guest stand still. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  unpauseInstance: cast({
    wire: 'unpause_instance',
    since: '1.2',
    summary: 'Lets a paused guest go on. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  suspendInstance: cast({
    wire: 'suspend_instance',
    since: '1.2',
    summary: 'Saves the memory of the guest and powers it off. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  resumeInstance: cast({
    wire: 'resume_instance',
    since: '1.2',
    summary: 'Starts a suspended guest from its saved memory. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  attachVolume: cast({
    wire: 'attach_volume',
    since: '1.3',
    summary:
      'Plugs a volume in, at once where the guest runs and for its next start, if its path is one that this host gives to guests. report_action tells its end, and what the disk is called.',
    input: z.strictObject({ ...ofInstance, volume: Volume }),
    output,
  }),
  detachVolume: cast({
    wire: 'detach_volume',
    since: '1.3',
    summary: 'Takes a volume out; a guest that runs must let it go. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, volume_id: z.guid() }),
    output,
  }),
  attachInterface: cast({
    wire: 'attach_interface',
    since: '1.3',
    summary:
      'Plugs a network interface in, at once where the guest runs and for its next start, if its network is one that this host gives to guests. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, interface: AttachedInterface }),
    output,
  }),
  detachInterface: cast({
    wire: 'detach_interface',
    since: '1.3',
    summary: 'Takes a network interface out; a guest that runs must let it go. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, mac: Mac }),
    output,
  }),
  snapshotInstance: cast({
    wire: 'snapshot_instance',
    since: '1.5',
    summary:
      "Makes an image of the guest's root disk in the folder of images; a guest that runs stands still meanwhile, as long as what it has written is copied. report_action_stage tells how far it is, report_action its end.",
    input: z.strictObject({ ...ofInstance, image: ImageMeta }),
    output,
  }),
  rescueInstance: cast({
    wire: 'rescue_instance',
    since: '1.6',
    summary:
      'Boots the guest from this image, with its own root disk beside that, and proves its encryption; if that fails it is as it was. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, image: ImageMeta }),
    output,
  }),
  unrescueInstance: cast({
    wire: 'unrescue_instance',
    since: '1.6',
    summary: 'Boots a rescued guest from its own disk again, as start_instance does. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  resizeInstance: cast({
    wire: 'resize_instance',
    since: '1.7',
    summary:
      'At the source of a resize or cold migration: powers the guest off, asking it to shut down first, and makes its disks ready to be taken by a host with the same `storage`; with another nothing is done (INVALID_SHARED_STORAGE). report_action tells its end, and the disks.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true), storage: StorageId }),
    output,
  }),
  liveMigration: cast({
    wire: 'live_migration',
    since: '1.10',
    summary:
      'At the source of a live migration: brings the guest to `dest`, which has prepared for it (pre_live_migration), as it runs; then it is off here, and stays defined. An encrypted guest is refused (OPERATION_NOT_SUPPORTED_FOR_SEV). report_action tells its end.',
    input: z.strictObject({ ...ofInstance, dest: HostName, migrate_data: LiveMigrateData }),
    output,
  }),
  liveMigrationAbort: cast({
    wire: 'live_migration_abort',
    since: '1.13',
    summary:
      'At the source of a live migration that is under way as the action `number`: gives it up, so that the guest goes on here. One that is over is left alone; report_action tells the end of the migration.',
    input: z.strictObject(ofInstance),
    output,
  }),
  liveMigrationForceComplete: cast({
    wire: 'live_migration_force_complete',
    since: '1.13',
    summary:
      'At the source of a live migration that is under way as the action `number`: has it end whatever the guest writes. It goes on at the destination at once, its memory following (post-copy), where compute.live_migration_permit_post_copy is set; else it stands still until it is there. report_action tells the end of the migration.',
    input: z.strictObject(ofInstance),
    output,
  }),
  rollbackLiveMigration: cast({
    wire: 'rollback_live_migration',
    since: '1.11',
    summary:
      'At the source again, for the guest has not come to the destination: it runs here, started as start_instance does where it is off. report_action tells its end.',
    input: z.strictObject(ofInstance),
    output,
  }),
  finishRevertResize: cast({
    wire: 'finish_revert_resize',
    since: '1.7',
    summary:
      'At the source again: gives the guest its disks back, and starts it as start_instance does, or with `power_on` false only defines it. report_action tells its end.',
    input: z.strictObject({ ...ofInstance, power_on: z.boolean() }),
    output,
  }),
  shelveInstance: cast({
    wire: 'shelve_instance',
    since: '1.9',
    summary:
      'Powers the guest off, asking it to shut down first unless `clean_shutdown` is false, and makes an image of its root disk, as snapshot_instance does; what fails leaves it running as before. report_action_stage tells how far it is, and report_action its end, with the bytes of the image. Its removal is asked for then by terminate_instance.',
    input: z.strictObject({ ...ofInstance, clean_shutdown: z.boolean().default(true), image: ImageMeta }),
    output,
  }),
}
