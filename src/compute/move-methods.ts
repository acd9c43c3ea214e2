import { z } from 'zod'
import { Instance } from '../objects/instance.ts'
import { LeftDisks, StorageId } from '../objects/left-disks.ts'
import { LiveMigrateData } from '../objects/live-migrate-data.ts'
import { Allocation } from '../objects/request-spec.ts'
import { call, cast } from '../rpc/contract.ts'

/** What hosts do about a guest that goes from one to the other as it runs, beside the action of its source. */
export const moveMethods = {
  checkCanLiveMigrateSource: call({
    wire: 'check_can_live_migrate_source',
    since: '1.10',
    summary:
      'Could the guest of the instance leave this host as it runs? Changes nothing. `storage` names what the host sees of disks, `disks` are those of the guest. Errors: OPERATION_NOT_SUPPORTED_FOR_SEV, INSTANCE_INVALID_STATE when its guest does not run, GUEST_NOT_FOUND.',
    input: z.strictObject({ instance: Instance }),
    output: z.object({ storage: StorageId, disks: LeftDisks }),
    timeoutMs: 30_000,
  }),
  checkCanLiveMigrateDestination: call({
    wire: 'check_can_live_migrate_destination',
    since: '1.10',
    summary:
      'Could the guest of the instance come to this host, where its resources are claimed, as it runs? Changes nothing. `storage` is what its source sees of disks: with another nothing can come. Errors: INVALID_SHARED_STORAGE, CLAIM_MISMATCH, HOST_CAPABILITY_MISSING, and others of build_and_run_instance.',
    input: z.strictObject({ instance: Instance, allocations: z.array(Allocation).max(64), storage: StorageId }),
    output: z.null(),
    timeoutMs: 30_000,
  }),
  preLiveMigration: call({
    wire: 'pre_live_migration',
    since: '1.10',
    summary:
      'At the destination: makes ready for the guest, whose `disks` become disks of this host as well, and tells what the source needs to send it. Written to the journal first; undone by rollback_live_migration_at_destination. Errors: STALE_ATTEMPT when that was asked for already, INVALID_SHARED_STORAGE, DISK_CREATION_FAILED.',
    input: z.strictObject({ instance: Instance, disks: LeftDisks }),
    output: z.object({ migrate_data: LiveMigrateData }),
    timeoutMs: 60_000,
  }),
  postLiveMigrationAtDestination: cast({
    wire: 'post_live_migration_at_destination',
    since: '1.10',
    summary:
      'At the destination: the source has no guest that runs any more. Takes it over if it has come, and removes what is here if not. Accepted once written to the journal; report_build tells its end.',
    input: z.strictObject({ instance: Instance }),
    output: z.null(),
  }),
  rollbackLiveMigrationAtDestination: cast({
    wire: 'rollback_live_migration_at_destination',
    since: '1.10',
    summary:
      'At the destination: removes what is here of the instance, for it stays at its source. After that its guest cannot come any more. report_terminated tells its end.',
    input: z.strictObject({ instance: Instance, migration_uuid: z.guid() }),
    output: z.null(),
  }),
}
