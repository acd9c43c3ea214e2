import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ActionInterrupted, NoValidHost, SpawnFailed, VolumeAttachFailed } from '../../src/errors.ts'
import { InstanceEvents, type SlotEvent } from '../../src/notifications/instance-events.ts'
import { DEFAULT_NOTIFICATION_NAMES, decodeNotification } from '../../src/notifications/notification.ts'
import { SelectionEvents } from '../../src/notifications/selection-events.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { RequestSpec } from '../../src/objects/request-spec.ts'
import { launchFlavor } from '../../src/objects/resource-request.ts'
import { NO_HINTS } from '../../src/objects/scheduler-hints.ts'
import { type DurableMessage, numbered } from '../../src/rpc/durable-message.ts'
import { anImage, plainFlavor, sevFlavor } from '../support/requests.ts'
import { operatingSamples } from './operating-samples.ts'

const context = {
  request_id: 'req-5b6c791d-5709-4f36-8fbe-c3e02869e35d',
  user_id: 'fake-user',
  project_id: 'fake-project',
  auth_token: 'secret',
}
const AT = new Date('2026-11-24T03:13:11.563Z')

const building: Instance = {
  uuid: '178b0921-8f85-4257-88b6-2e743b5a975c',
  name: 'some-server',
  project_id: 'fake-project',
  user_id: 'fake-user',
  vm_state: 'building',
  task_state: null,
  host: 'node1',
  attempt: 1,
  flavor: sevFlavor,
  image: anImage(),
  mem_encryption: { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' },
  availability_zone: null,
  scheduler_hints: NO_HINTS,
  config_drive: false,
  volumes: [],
  interfaces: [],
  ip_addresses: [{ address: '192.0.2.3', version: 4, mac: 'fa:16:3e:4c:2c:30', label: 'private' }],
  fault: null,
  created_at: '2026-11-24T03:13:10.000Z',
  updated_at: '2026-11-24T03:13:10.500Z',
  launched_at: null,
  terminated_at: null,
}
const active: Instance = { ...building, vm_state: 'active', launched_at: '2026-11-24T03:13:11.500Z' }
/** In clear: no other goes live. */
const plain: Instance = { ...active, flavor: plainFlavor as Instance['flavor'], mem_encryption: null }
const migrating: Instance = { ...plain, task_state: 'migrating' }
const stopped: Instance = { ...active, vm_state: 'stopped' }
const resized: Instance = { ...active, vm_state: 'resized' }
const deleted: Instance = { ...active, vm_state: 'deleted', terminated_at: '2026-11-24T04:00:00.000Z' }
const spec = RequestSpec.parse({
  instance_uuid: building.uuid,
  attempt: 1,
  project_id: 'fake-project',
  user_id: 'fake-user',
  flavor: launchFlavor(building.flavor, building.mem_encryption),
  image: building.image,
  mem_encryption: building.mem_encryption,
})

const compute = new InstanceEvents(DEFAULT_NOTIFICATION_NAMES, 'nova-compute:node1', { now: () => AT })
const conductor = new InstanceEvents(DEFAULT_NOTIFICATION_NAMES, 'nova-conductor:node1', {
  now: () => AT,
  notifyOnStateChange: 'vm_and_task_state',
})
const spawnFailed = new SpawnFailed('QEMU exited', {}, { cause: new Error('ENOSPC') })
const interrupted = new ActionInterrupted('the instance is deleted')
const noHost = new NoValidHost('no valid host: 5 hosts considered; MemEncryptionSlots rejected 5')

const selected = new SelectionEvents(DEFAULT_NOTIFICATION_NAMES, 'node0', () => AT).found({
  context,
  spec,
  askedAt: AT,
})

const volume_id = 'a07f71dc-8151-4e7d-a0cc-cd24a3f11113'
const volume = { volume_id, path: '/srv/volumes/data.raw', bus: 'scsi' } as const
const attachVolume = { name: 'attach_volume', volume } as const
const detachVolume = { name: 'detach_volume', volume_id } as const

const snapshot = { name: 'snapshot', image: { ...anImage(), id: 'a07f71dc-8151-4e7d-a0cc-cd24a3f11114' } } as const

function slotMessage(event: SlotEvent): DurableMessage {
  return conductor.slot(event, context, active)[0] as DurableMessage
}

const shelved = { ...active, vm_state: 'shelved', task_state: 'shelving_offloading' } as const
const offloaded = { ...active, vm_state: 'shelved_offloaded', host: null } as const

const SAMPLES: Readonly<Record<string, DurableMessage>> = {
  ...operatingSamples(context),
  'instance-create-start': compute.message('instance.create.start', context, building),
  'instance-create-end': compute.message('instance.create.end', context, active),
  'instance-create-error': compute.message(
    'instance.create.error',
    context,
    { ...building, vm_state: 'error' },
    spawnFailed,
  ),
  'instance-evacuate': conductor
    .onBehalfOfApi()
    .message('instance.evacuate', context, { ...active, task_state: 'rebuilding' }),
  'instance-rebuild_scheduled': conductor.message('instance.rebuild_scheduled', context, {
    ...active,
    task_state: 'rebuilding',
  }),
  'instance-rebuild-start': compute.message('instance.rebuild.start', context, {
    ...active,
    task_state: 'rebuild_spawning',
  }),
  'instance-rebuild-end': compute.message('instance.rebuild.end', context, active),
  'instance-rebuild-error': compute.message('instance.rebuild.error', context, active, spawnFailed),
  'compute_task-rebuild_server-error': conductor.rebuildFailed(context, active, spec, noHost),
  'instance-power_off-start': compute.message('instance.power_off.start', context, {
    ...active,
    task_state: 'powering-off',
  }),
  'instance-power_off-end': compute.message('instance.power_off.end', context, stopped),
  'instance-power_on-start': compute.message('instance.power_on.start', context, {
    ...stopped,
    task_state: 'powering-on',
  }),
  'instance-power_on-end': compute.message('instance.power_on.end', context, active),
  'instance-power_on-error': compute.message('instance.power_on.error', context, stopped, spawnFailed),
  'instance-reboot-start': compute.message('instance.reboot.start', context, { ...active, task_state: 'rebooting' }),
  'instance-reboot-end': compute.message('instance.reboot.end', context, active),
  'instance-reboot-error': compute.message(
    'instance.reboot.error',
    context,
    { ...active, vm_state: 'error' },
    spawnFailed,
  ),
  'instance-pause-start': compute.message('instance.pause.start', context, { ...active, task_state: 'pausing' }),
  'instance-pause-end': compute.message('instance.pause.end', context, { ...active, vm_state: 'paused' }),
  'instance-unpause-start': compute.message('instance.unpause.start', context, {
    ...active,
    vm_state: 'paused',
    task_state: 'unpausing',
  }),
  'instance-unpause-end': compute.message('instance.unpause.end', context, active),
  'instance-shelve-start': compute.message('instance.shelve.start', context, { ...active, task_state: 'shelving' }),
  'instance-shelve-end': compute.message('instance.shelve.end', context, shelved),
  'instance-shelve_offload-start': compute.message('instance.shelve_offload.start', context, shelved),
  'instance-shelve_offload-error': compute.message('instance.shelve_offload.error', context, shelved, interrupted),
  'instance-shelve_offload-end': compute.message('instance.shelve_offload.end', context, offloaded),
  'instance-unshelve-start': compute.message('instance.unshelve.start', context, {
    ...offloaded,
    host: 'node1',
    task_state: 'spawning',
  }),
  'instance-unshelve-end': compute.message('instance.unshelve.end', context, active),
  'instance-suspend-start': compute.message('instance.suspend.start', context, { ...active, task_state: 'suspending' }),
  'instance-suspend-end': compute.message('instance.suspend.end', context, { ...active, vm_state: 'suspended' }),
  'instance-resume-start': compute.message('instance.resume.start', context, {
    ...active,
    vm_state: 'suspended',
    task_state: 'resuming',
  }),
  'instance-resume-end': compute.message('instance.resume.end', context, active),
  'instance-volume_attach-start': compute.message(
    'instance.volume_attach.start',
    context,
    { ...active, task_state: 'attaching-volume' },
    undefined,
    attachVolume,
  ),
  'instance-volume_attach-end': compute.message('instance.volume_attach.end', context, active, undefined, attachVolume),
  'instance-volume_attach-error': compute.message(
    'instance.volume_attach.error',
    context,
    active,
    new VolumeAttachFailed('volume /srv/volumes/data.raw cannot be plugged in: no free port'),
    attachVolume,
  ),
  'instance-volume_detach-end': compute.message('instance.volume_detach.end', context, active, undefined, detachVolume),
  'instance-rescue-end': compute.message(
    'instance.rescue.end',
    context,
    { ...active, vm_state: 'rescued' },
    undefined,
    { ...snapshot, name: 'rescue' },
  ),
  'instance-snapshot-start': compute.message(
    'instance.snapshot.start',
    context,
    { ...active, task_state: 'image_snapshot' },
    undefined,
    snapshot,
  ),
  'instance-snapshot-end': compute.message('instance.snapshot.end', context, active, undefined, snapshot),
  'instance-interface_attach-end': compute.message('instance.interface_attach.end', context, active),
  'instance-interface_detach-end': compute.message('instance.interface_detach.end', context, active),
  'instance-live_migration_pre-start': compute.message('instance.live_migration_pre.start', context, migrating),
  'instance-live_migration_pre-end': compute.message('instance.live_migration_pre.end', context, migrating),
  'instance-live_migration_post-start': compute.message('instance.live_migration_post.start', context, migrating),
  'instance-live_migration_post-end': compute.message('instance.live_migration_post.end', context, plain),
  'instance-live_migration_post_dest-start': compute.message(
    'instance.live_migration_post_dest.start',
    context,
    migrating,
  ),
  'instance-live_migration_post_dest-end': compute.message('instance.live_migration_post_dest.end', context, plain),
  ...Object.fromEntries(
    (['post', 'post_dest', 'rollback', 'rollback_dest'] as const).map((what) => [
      `instance-live_migration_${what}-error`,
      compute.message(`instance.live_migration_${what}.error`, context, plain, interrupted),
    ]),
  ),
  ...Object.fromEntries(
    (['abort', 'force_complete'] as const).flatMap((what) => [
      [
        `instance-live_migration_${what}-start`,
        compute.message(`instance.live_migration_${what}.start`, context, migrating),
      ],
      [
        `instance-live_migration_${what}-end`,
        compute.message(`instance.live_migration_${what}.end`, context, migrating),
      ],
      [
        `instance-live_migration_${what}-error`,
        compute.message(`instance.live_migration_${what}.error`, context, migrating, interrupted),
      ],
    ]),
  ),
  'instance-live_migration_rollback-start': compute.message(
    'instance.live_migration_rollback.start',
    context,
    migrating,
  ),
  'instance-live_migration_rollback-end': compute.message('instance.live_migration_rollback.end', context, migrating),
  'instance-live_migration_rollback_dest-start': compute.message(
    'instance.live_migration_rollback_dest.start',
    context,
    migrating,
  ),
  'instance-live_migration_rollback_dest-end': compute.message(
    'instance.live_migration_rollback_dest.end',
    context,
    migrating,
  ),
  'instance-resize_prep-start': compute.resizePrep(
    'start',
    context,
    { ...active, task_state: 'resize_prep' },
    sevFlavor,
  ),
  'instance-resize_prep-end': compute.resizePrep('end', context, { ...active, task_state: 'resize_prep' }, sevFlavor),
  'instance-resize-start': compute.message('instance.resize.start', context, {
    ...active,
    task_state: 'resize_migrating',
  }),
  'instance-resize-end': compute.message('instance.resize.end', context, { ...active, task_state: 'resize_migrated' }),
  'instance-resize-error': compute.message('instance.resize.error', context, active, spawnFailed),
  'instance-resize_finish-start': compute.message('instance.resize_finish.start', context, {
    ...active,
    task_state: 'resize_finish',
  }),
  'instance-resize_finish-end': compute.message('instance.resize_finish.end', context, resized),
  'instance-resize_confirm-start': compute.message('instance.resize_confirm.start', context, {
    ...resized,
    task_state: 'resize_confirming',
  }),
  'instance-resize_confirm-end': compute.message('instance.resize_confirm.end', context, active),
  'instance-resize_revert-start': compute.message('instance.resize_revert.start', context, {
    ...active,
    task_state: 'resize_reverting',
  }),
  'instance-resize_revert-end': compute.message('instance.resize_revert.end', context, active),
  'compute_task-migrate_server-error': conductor.migrationFailed(context, active, spec, noHost),
  'instance-delete-start': compute.message('instance.delete.start', context, { ...active, task_state: 'deleting' }),
  'instance-delete-end': compute.message('instance.delete.end', context, deleted),
  'slot-claimed': slotMessage('slot.claimed'),
  'slot-released': slotMessage('slot.released'),
  'instance-exists': conductor.exists(
    { context, instance: active },
    { beginning: new Date('2026-10-01T00:00:00Z'), ending: new Date('2026-11-01T00:00:00Z') },
  ),
  'instance-exists-before_resize': compute.existsSoFar(context, { ...active, task_state: 'resize_prep' }),
  'instance-update': conductor.update(
    context,
    { ...building, task_state: 'spawning' },
    { ...active, task_state: null },
  )[0] as DurableMessage,
  'scheduler-select_destinations-start': selected[0] as DurableMessage,
  'scheduler-select_destinations-end': selected[1] as DurableMessage,
  'compute_task-build_instances-error': conductor.buildFailed(
    context,
    { ...building, vm_state: 'error', host: null },
    spec,
    noHost,
  ),
}

/** As it arrives when the outbox has numbered it. */
function received(message: DurableMessage) {
  const { body } = numbered(message, 7)
  return { body: Buffer.from(body), contentType: 'application/json', headers: {} }
}

/** As it is read from the wire; ids are made anew for each message, so the samples do not hold them. */
function read(message: DurableMessage): object {
  const notification = decodeNotification(received(message))
  const { message_id: _id, _unique_id: _unique, ...rest } = notification
  return rest
}

describe('notification samples', () => {
  it.each(Object.entries(SAMPLES))('docs/notifications/%s.json is what the code sends', (name, message) => {
    const file = `docs/notifications/${name}.json`
    const text = `${JSON.stringify(read(message), null, 2)}\n`
    if (process.env.UPDATE_SAMPLES || !existsSync(file)) writeFileSync(file, text)

    expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(JSON.parse(text))
  })

  it.each(Object.entries(SAMPLES))(
    '%s goes where consumers of Nova look, with the priority in the key',
    (name, { to, mandatory }) => {
      const priority = name.endsWith('error') || name === 'compute-exception' ? 'error' : 'info'

      expect({ to, mandatory }).toEqual({
        to: { kind: 'notification', exchange: 'nova', topic: 'versioned_notifications', priority },
        mandatory: false,
      })
    },
  )

  it('carry no part of the request context that is not on the list: tokens stay in the house', () => {
    for (const { body } of Object.values(SAMPLES)) expect(body).not.toContain('secret')
  })

  it('say what the guest really runs with beside what Nova has, for image requests as for flavor requests', () => {
    const byImage: Instance = {
      ...active,
      mem_encryption: { model: 'amd-sev-es', policy: '0x0037', requested_by: 'image' },
    }
    const notification = decodeNotification(received(compute.message('instance.create.end', context, byImage)))

    expect(notification.payload.sevbus).toEqual({
      version: '1.2',
      mem_encryption: { model: 'amd-sev-es', policy: '0x0037', requested_by: 'image' },
      launch_extra_specs: {
        'hw:mem_encryption': 'true',
        'resources:MEM_ENCRYPTION_CONTEXT': '1',
        'trait:HW_CPU_X86_AMD_SEV_ES': 'required',
      },
      slot: { provider: 'node1_amd_sev_es', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
      sequence: 7,
    })
  })

  it('name no slot where none is charged: of a guest in clear, and of one that is on no host', () => {
    const slotOf = (instance: Instance) => {
      const notification = decodeNotification(received(compute.message('instance.create.end', context, instance)))
      return notification.payload.sevbus?.slot
    }

    expect([slotOf({ ...active, mem_encryption: null }), slotOf({ ...active, host: null })]).toEqual([null, null])
  })
})
