import type { FailedTask, InstanceEvent, SlotEvent } from '../../src/notifications/instance-events.ts'
import type { AggregateAction, ServerGroupEvent, ServiceEvent } from '../../src/notifications/operating-events.ts'
import {
  AggregatePayload,
  LibvirtErrorPayload,
  ServiceStatusPayload,
} from '../../src/notifications/operating-payloads.ts'
import {
  ExceptionPayload,
  InstanceActionPayload,
  InstanceActionRebuildPayload,
  InstanceActionRescuePayload,
  InstanceActionResizePrepPayload,
  InstanceActionSnapshotPayload,
  InstanceActionVolumePayload,
  InstanceCreatePayload,
  InstanceExistsPayload,
  InstanceUpdatePayload,
  SlotPayload,
} from '../../src/notifications/payloads.ts'
import { ComputeTaskPayload, RequestSpecPayload, ServerGroupPayload } from '../../src/notifications/request-payloads.ts'
import type { SelectionEvent } from '../../src/notifications/selection-events.ts'
import type { ObjectType } from '../../src/notifications/versioned-object.ts'

interface Told {
  readonly payload: Pick<ObjectType<string, never>, 'name' | 'version'>
  /** Its `publisher_id` is this and the host's name. */
  readonly publisher: 'nova-compute' | 'nova-conductor' | 'nova-scheduler' | 'nova-api' | typeof hostOrApi
  /** False: it is about no instance, so nothing stands beside Nova's keys. */
  readonly isOfInstance?: false
  readonly summary: string
}

const compute = 'nova-compute'
const conductor = 'nova-conductor'
const api = 'nova-api'
/** The API where it is on no host. */
const hostOrApi = '(nova-compute|nova-api)'

const aggregate = (summary: string): Told => ({
  ...{ payload: AggregatePayload, publisher: api, isOfInstance: false as const },
  summary,
})
const serverGroup = (summary: string): Told => ({
  ...{ payload: ServerGroupPayload, publisher: api, isOfInstance: false as const },
  summary,
})
const selection = (summary: string): Told => ({
  ...{ payload: RequestSpecPayload, publisher: 'nova-scheduler', isOfInstance: false as const },
  summary,
})
const service = (summary: string): Told => ({
  ...{ payload: ServiceStatusPayload, publisher: compute, isOfInstance: false as const },
  summary,
})

/** Every notification that workers send; the compiler wants a row for each. */
export const NOTIFICATION_CATALOGUE: Readonly<
  Record<
    | (InstanceEvent | SlotEvent | 'instance.exists' | 'instance.update' | `compute_task.${FailedTask}.error`)
    | ('compute.exception' | 'libvirt.connect.error' | SelectionEvent)
    | (ServiceEvent | ServerGroupEvent | `aggregate.${AggregateAction}.${'start' | 'end'}`),
    Told
  >
> = {
  'instance.create.start': {
    payload: InstanceCreatePayload,
    publisher: compute,
    summary: 'A host begins to build the instance.',
  },
  'instance.create.end': {
    payload: InstanceCreatePayload,
    publisher: compute,
    summary: 'It runs there, from `launched_at` on, and counts: a try that turns out to be void is never told so.',
  },
  'instance.create.error': {
    payload: InstanceCreatePayload,
    publisher: compute,
    summary: 'A host could not build it; the next one may. `fault` says why.',
  },
  'instance.evacuate': {
    payload: InstanceActionPayload,
    publisher: api,
    summary: 'Its host is dead, and it is to be rebuilt on another.',
  },
  'instance.rebuild_scheduled': {
    payload: InstanceActionRebuildPayload,
    publisher: conductor,
    summary: 'Its host may make it anew from another image, and has what it takes. Not told of evacuations.',
  },
  'instance.rebuild.start': {
    payload: InstanceActionRebuildPayload,
    publisher: compute,
    summary: 'Its host begins to make it anew from another image; or another host to build it, whose own is dead.',
  },
  'instance.rebuild.end': {
    payload: InstanceActionRebuildPayload,
    publisher: compute,
    summary:
      'It runs there from now on, perhaps with another encryption; one that was stopped, and is rebuilt where it is, is off.',
  },
  'instance.rebuild.error': {
    payload: InstanceActionRebuildPayload,
    publisher: compute,
    summary:
      'The other host could not build it; it stays where it is unless the next one can. Of one that is rebuilt where it is: it is in ERROR, with its claim.',
  },
  'instance.power_off.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to power it off.',
  },
  'instance.power_off.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is off; what it has on its host, its encryption slot among it, stays its own.',
  },
  'instance.power_off.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary:
      'It could not be powered off; `state` is what it is after that, and `fault` says why. Nova has none of this name.',
  },
  'instance.power_on.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to power it on.',
  },
  'instance.power_on.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs again, encrypted as before.',
  },
  'instance.power_on.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be powered on; `fault` says why. Nova has none of this name.',
  },
  'instance.reboot.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to power it off and on.',
  },
  'instance.reboot.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs again, encrypted as before.',
  },
  'instance.reboot.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be rebooted; `state` is what it is after that, and `fault` says why.',
  },
  'instance.pause.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to pause it.',
  },
  'instance.pause.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its processors stand still; it keeps its memory and its key.',
  },
  'instance.pause.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be paused; `fault` says why. Nova has none of this name.',
  },
  'instance.unpause.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to let it go on.',
  },
  'instance.unpause.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs again.',
  },
  'instance.unpause.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be let go on; `fault` says why. Nova has none of this name.',
  },
  'instance.suspend.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to save its memory.',
  },
  'instance.suspend.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its memory is saved, and it is off.',
  },
  'instance.suspend.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be suspended; `fault` says why. Nova has none of this name.',
  },
  'instance.resume.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to start it from its saved memory.',
  },
  'instance.resume.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs again, with the memory that it had.',
  },
  'instance.resume.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be resumed; `fault` says why. Nova has none of this name.',
  },
  'instance.volume_attach.start': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'Its host begins to plug a volume in.',
  },
  'instance.volume_attach.end': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'It has the volume, and keeps it over stops and starts.',
  },
  'instance.volume_attach.error': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'The volume could not be plugged in; `fault` says why.',
  },
  'instance.volume_detach.start': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'Its host begins to take a volume out.',
  },
  'instance.volume_detach.end': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'It has the volume no more.',
  },
  'instance.volume_detach.error': {
    payload: InstanceActionVolumePayload,
    publisher: compute,
    summary: 'It has not let the volume go; `fault` says why. Nova has none of this name.',
  },
  'instance.interface_attach.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to plug a network interface in.',
  },
  'instance.interface_attach.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It has the interface, and keeps it over stops and starts.',
  },
  'instance.interface_attach.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The interface could not be plugged in; `fault` says why.',
  },
  'instance.interface_detach.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to take a network interface out.',
  },
  'instance.interface_detach.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It has the interface no more.',
  },
  'instance.interface_detach.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It has not let the interface go; `fault` says why. Nova has none of this name.',
  },
  'instance.shelve.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to power it off, and to make an image of its disk.',
  },
  'instance.shelve.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is off, and its disk is an image; its host is still to let go of it.',
  },
  'instance.shelve.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be shelved, and is what it was; `fault` says why. Nova has none of this name.',
  },
  'instance.shelve_offload.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to remove it; what it has there is still its own.',
  },
  'instance.shelve_offload.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is on no host, and charged for no more.',
  },
  'instance.shelve_offload.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is deleted before its host has let go of it. Nova has none of this name.',
  },
  'instance.unshelve.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'A host begins to build it from its image.',
  },
  'instance.unshelve.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs there, and is charged for again, perhaps with a better encryption.',
  },
  'instance.unshelve.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'A host could not build it; the next one may. `fault` says why. Nova has none of this name.',
  },
  'instance.snapshot.start': {
    payload: InstanceActionSnapshotPayload,
    publisher: compute,
    summary: 'Its host begins to make an image of its root disk.',
  },
  'instance.snapshot.end': {
    payload: InstanceActionSnapshotPayload,
    publisher: compute,
    summary: 'The image is in the store; a boot from it asks for what the instance runs with.',
  },
  'instance.snapshot.error': {
    payload: InstanceActionSnapshotPayload,
    publisher: compute,
    summary: 'No image was made; `fault` says why. Nova has none of this name.',
  },
  'instance.rescue.start': {
    payload: InstanceActionRescuePayload,
    publisher: compute,
    summary: 'Its host begins to boot it from another image.',
  },
  'instance.rescue.end': {
    payload: InstanceActionRescuePayload,
    publisher: compute,
    summary: 'It runs from the other image, encrypted as before, with its own disk beside that.',
  },
  'instance.rescue.error': {
    payload: InstanceActionRescuePayload,
    publisher: compute,
    summary:
      'It could not be rescued; `state` is what it is after that, and `fault` says why. Nova has none of this name.',
  },
  'instance.unrescue.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to boot it from its own disk again.',
  },
  'instance.unrescue.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs from its own disk again, encrypted as before.',
  },
  'instance.unrescue.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It could not be booted from its own disk; `fault` says why. Nova has none of this name.',
  },
  'instance.live_migration_pre.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'A host, which tells it, begins to make ready for its guest, which is to come as it runs.',
  },
  'instance.live_migration_pre.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is ready, and what the guest needs is claimed there; the guest runs where it is.',
  },
  'instance.live_migration_post.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its guest runs no more on the host that tells it, as far as that knows.',
  },
  'instance.live_migration_post.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It lives elsewhere; what the host that tells it has of it goes.',
  },
  'instance.live_migration_post.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It has not come to the other host, or is deleted before that has said so. Nova has none of this name.',
  },
  'instance.live_migration_post_dest.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The other host begins to take it over.',
  },
  'instance.live_migration_post_dest.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs there, and is charged for there.',
  },
  'instance.live_migration_post_dest.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It does not run there: it has not come, or is deleted before anybody knew. Nova has none of this name.',
  },
  'instance.live_migration_rollback.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary:
      'It has not left the host that tells it, or has not come to the other: what ran nowhere is to be started where it was.',
  },
  'instance.live_migration_rollback.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It runs on the old host, and that alone has it.',
  },
  'instance.live_migration_rollback.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary:
      'It could not be started where it was, or something else has taken the place of that; `fault` says why. Nova has none of this name.',
  },
  'instance.live_migration_rollback_dest.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The other host begins to remove what it has of it.',
  },
  'instance.live_migration_rollback_dest.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The other host has nothing of it.',
  },
  'instance.live_migration_rollback_dest.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is deleted while the other host removes what it has of it. Nova has none of this name.',
  },
  'instance.live_migration_abort.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Somebody wants that its live migration is given up; its host is told.',
  },
  'instance.live_migration_abort.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is given up: it runs where it was, as its rollback tells.',
  },
  'instance.live_migration_abort.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It had left before, or something else took its place; `fault` says why. Nova has none of this name.',
  },
  'instance.live_migration_force_complete.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Somebody wants that its live migration ends, however fast its guest writes; its host is told.',
  },
  'instance.live_migration_force_complete.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its guest has left.',
  },
  'instance.live_migration_force_complete.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It has not left all the same; `fault` says why. Nova has none of this name.',
  },
  'instance.resize_prep.start': {
    payload: InstanceActionResizePrepPayload,
    publisher: compute,
    summary: 'A host begins to make sure that it can take it; `new_flavor` is what it is to have.',
  },
  'instance.resize_prep.end': {
    payload: InstanceActionResizePrepPayload,
    publisher: compute,
    summary: 'It can, and has what it needs claimed there; nothing has changed for the guest yet.',
  },
  'instance.resize.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'Its host begins to power it off, and to make its disks ready to be taken.',
  },
  'instance.resize.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is off there, and its disks are ready; what it has on that host is kept.',
  },
  'instance.resize.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary:
      'It could not leave its host, or could not be built at the other; it is what it was, or on its way back. `fault` says why.',
  },
  'instance.resize_finish.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The other host begins to build it, with the flavor and the encryption that it is to have.',
  },
  'instance.resize_finish.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is there, from `launched_at` on, in state `resized`; what it had on the host that it left is kept.',
  },
  'instance.resize_confirm.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is to stay; the host that it left begins to remove what it had there.',
  },
  'instance.resize_confirm.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It stays; what it had on the host that it left is gone, or goes when that host is back.',
  },
  'instance.resize_revert.start': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'The other host has nothing of it any more; the one that it left begins to make it what it was.',
  },
  'instance.resize_revert.end': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is what it was, with the flavor and the encryption that it had.',
  },
  'instance.resize_revert.error': {
    payload: InstanceActionPayload,
    publisher: compute,
    summary: 'It is on the host that it left, but could not be started; `fault` says why. Nova has none of this name.',
  },
  'instance.delete.start': {
    payload: InstanceActionPayload,
    publisher: hostOrApi,
    summary: 'Its deletion has begun; of one that no host had, the conductor tells it.',
  },
  'instance.delete.end': {
    payload: InstanceActionPayload,
    publisher: hostOrApi,
    summary: 'It is gone, from `terminated_at` on.',
  },
  'slot.claimed': {
    payload: SlotPayload,
    publisher: conductor,
    summary:
      'A slot for its encryption is claimed for a try of it, and charged from now on. Nova has none of this name.',
  },
  'slot.released': {
    payload: SlotPayload,
    publisher: conductor,
    summary: 'That slot is charged no more. Nova has none of this name.',
  },
  'instance.update': {
    payload: InstanceUpdatePayload,
    publisher: compute,
    summary:
      'Its state, or what is done to it, has changed, as `state_update` says; only where `notifications.notify_on_state_change` is set. The conductor tells it of what is on no host.',
  },
  'instance.exists': {
    payload: InstanceExistsPayload,
    publisher: compute,
    summary:
      'It lived in an audit period (`notifications.instance_usage_audit_period`): once for each of both, also when it ended within. The rest is as it is when this is told. Besides, of the period that has begun and up to now, before a rebuild, an evacuation, a rescue, a resize or cold migration, their revert, and a shelving.',
  },
  'compute_task.build_instances.error': {
    payload: ComputeTaskPayload,
    publisher: conductor,
    summary: 'No host took it, or every one failed: it is in ERROR.',
  },
  'compute_task.migrate_server.error': {
    payload: ComputeTaskPayload,
    publisher: conductor,
    summary: 'No host took it in a resize or migration: it stays what it was.',
  },
  'compute_task.rebuild_server.error': {
    payload: ComputeTaskPayload,
    publisher: conductor,
    summary: 'No host took it in an evacuation: it stays where it was.',
  },
  'scheduler.select_destinations.start': selection(
    'A host is sought for an instance; only where `notifications.select_destinations` is set. Told with what comes of it: a request that is refused has no `end`.',
  ),
  'scheduler.select_destinations.end': selection('A host is found, and what the instance needs is claimed there.'),
  'compute.exception': {
    ...{ payload: ExceptionPayload, publisher: compute, isOfInstance: false },
    summary:
      'Something that a host was asked for has failed, whatever becomes of it: `function_name` says what, and the context of the notification whose request it was.',
  },
  'libvirt.connect.error': {
    ...{ payload: LibvirtErrorPayload, publisher: compute, isOfInstance: false },
    summary:
      'A host has no connection to its libvirt: told once, by the first reason, until all its connections stand again. Its guests run on.',
  },
  'service.create': service('A host has reported for the first time.'),
  'service.update': service(
    'A host was disabled, enabled or forced down, by an operator, or because builds failed there in a row.',
  ),
  'aggregate.create.start': aggregate('An aggregate is made; it has no number and no hosts yet.'),
  'aggregate.create.end': aggregate('It is there, without hosts: those that it was made with are added one by one.'),
  'aggregate.delete.start': aggregate('An aggregate is removed.'),
  'aggregate.delete.end': aggregate('It is gone.'),
  'aggregate.add_host.start': aggregate('A host is put into an aggregate; `hosts` are those that it had.'),
  'aggregate.add_host.end': aggregate('It has the host.'),
  'aggregate.remove_host.start': aggregate('A host is taken out of an aggregate; `hosts` are those that it had.'),
  'aggregate.remove_host.end': aggregate('It has the host no more.'),
  'aggregate.update_metadata.start': aggregate('The metadata of an aggregate, its zone among them, are changed.'),
  'aggregate.update_metadata.end': aggregate('They are what they are from now on.'),
  'server_group.create': serverGroup('A server group is made.'),
  'server_group.delete': serverGroup('It is gone; `members` were held to it, and are not any more.'),
  'server_group.add_member': serverGroup('A host is sought for an instance of it, which is in `members` alone.'),
}

/** By which the queue is chosen, too. */
export function priorityOf(event: string): 'error' | 'info' {
  return event.endsWith('.error') || event === 'compute.exception' ? 'error' : 'info'
}
