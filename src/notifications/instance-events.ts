import type { SevbusError } from '../errors.ts'
import type { ActionRule } from '../objects/action-rules.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { Instance } from '../objects/instance.ts'
import type { InstanceAction } from '../objects/instance-action.ts'
import { MEM_ENCRYPTION_MODELS } from '../objects/mem-encryption.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import { launchFlavor } from '../objects/resource-request.ts'
import { MEM_ENCRYPTION_CONTEXT } from '../objects/resources.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type AuditPeriod, type AuditPeriodSetting, currentPeriod } from './audit-period.ts'
import {
  type NotificationNames,
  notificationMessage,
  SEVBUS_EXTENSION_VERSION,
  type SevbusExtension,
} from './notification.ts'
import {
  auditPayload,
  exceptionPayload,
  existsPayload,
  flavorPayload,
  instanceFields,
  requestSpecPayload,
  updatePayload,
} from './payload-builders.ts'
import {
  InstanceActionPayload,
  InstanceActionRebuildPayload,
  InstanceActionRescuePayload,
  InstanceActionResizePrepPayload,
  InstanceActionSnapshotPayload,
  InstanceActionVolumePayload,
  InstanceCreatePayload,
  SlotPayload,
} from './payloads.ts'
import { ComputeTaskPayload } from './request-payloads.ts'
import { namedGroup } from './server-group-payload.ts'
import { type NotifyOnStateChange, stateUpdate } from './state-update.ts'

export type InstanceEvent =
  | `instance.${NonNullable<ActionRule['event']>}.${'start' | 'end' | 'error'}`
  | 'instance.create.start'
  | 'instance.create.end'
  | 'instance.create.error'
  | 'instance.evacuate'
  | 'instance.rebuild_scheduled'
  | 'instance.rebuild.start'
  | 'instance.rebuild.end'
  | 'instance.rebuild.error'
  | `instance.resize_prep.${'start' | 'end'}`
  | `instance.resize_finish.${'start' | 'end'}`
  | `instance.resize_confirm.${'start' | 'end'}`
  | `instance.shelve_offload.${'start' | 'end' | 'error'}`
  | `instance.unshelve.${'start' | 'end' | 'error'}`
  | `instance.live_migration_pre.${'start' | 'end'}`
  | `instance.live_migration_${'post' | 'post_dest' | 'rollback_dest'}.${'start' | 'end' | 'error'}`
  | `instance.live_migration_${'abort' | 'force_complete'}.${'start' | 'end' | 'error'}`
  | 'instance.delete.start'
  | 'instance.delete.end'

/** What is charged for an encrypted guest beside its flavor. */
export type SlotEvent = 'slot.claimed' | 'slot.released'

/** An instance that lived, with the context of the request that made it. */
export interface InstanceExistence {
  readonly context: RequestContext
  readonly instance: Instance
}

/** What the conductor may not be able to do for an instance: `compute_task.build_instances.error`. */
export type FailedTask = 'build_instances' | 'rebuild_server' | 'migrate_server'

/** Of what an operator may decide; what is left out is as in Nova. */
export interface InstanceEventOptions {
  readonly now?: () => Date
  /** Of which changes `instance.update` tells; default: of none. */
  readonly notifyOnStateChange?: NotifyOnStateChange
  readonly auditPeriod?: AuditPeriodSetting
}

/** Makes the notifications of one service; what is made is stored by the caller, with the fact it reports. */
export class InstanceEvents {
  readonly #names: NotificationNames
  readonly #publisher: string
  readonly #options: InstanceEventOptions

  /** @param publisher `nova-compute:<host>`: Nova's form, which consumers route by */
  constructor(names: NotificationNames, publisher: string, options: InstanceEventOptions = {}) {
    this.#names = names
    this.#publisher = publisher
    this.#options = options
  }

  /** The same in the name of a host's compute service: for what is only true once the conductor has accepted it. */
  onBehalfOf(host: string): InstanceEvents {
    return new InstanceEvents(this.#names, `nova-compute:${host}`, this.#options)
  }

  /** The same as `nova-api:<host>`: for what Nova's API tells itself, when it is asked. Source: nova/compute/api.py. */
  onBehalfOfApi(): InstanceEvents {
    const host = this.#publisher.slice(this.#publisher.indexOf(':') + 1)
    return new InstanceEvents(this.#names, `nova-api:${host}`, this.#options)
  }

  /** @param action that it tells of, if it is of one: some payloads say what was asked for */
  message(
    event: Exclude<InstanceEvent, `instance.resize_prep.${string}`>,
    context: RequestContext,
    instance: Instance,
    error?: SevbusError,
    action?: InstanceAction,
  ): DurableMessage {
    const fault = error ? exceptionPayload(error, { module: 'sevbus.compute', function: functionOf(event) }) : null
    // As in Nova: its ports were taken from it before this is told.
    const there = event === 'instance.delete.end' ? { ...instance, ip_addresses: [] } : instance
    const payload = payloadOf(event, there, instanceFields(context, there, fault), action)
    return this.#message(event, context, there, payload, error !== undefined)
  }

  /** @returns nothing of a guest in clear, or of one that is on no host */
  slot(event: SlotEvent, context: RequestContext, instance: Instance): readonly DurableMessage[] {
    const { host, mem_encryption: encryption } = instance
    const slot = slotOf(instance)
    if (host === null || encryption === null || slot == null) return []
    const payload = SlotPayload.wrap({
      instance_uuid: instance.uuid,
      tenant_id: instance.project_id,
      user_id: instance.user_id,
      host,
      attempt: instance.attempt,
      model: encryption.model,
      provider: slot.provider,
      resource_class: slot.resource_class,
      amount: slot.amount,
    })
    return [this.#message(event, context, instance, payload, false)]
  }

  /**
   * `instance.update`: of a change that is told of, in the name of the host that it is on, or was.
   *
   * @param before undefined: it is new
   */
  update(context: RequestContext, before: Instance | undefined, after: Instance): readonly DurableMessage[] {
    const { notifyOnStateChange = 'never', auditPeriod = 'month' } = this.#options
    const update = stateUpdate(notifyOnStateChange, before, after)
    if (update === undefined) return []
    // What is deleted is on no host any more.
    const there = after.vm_state === 'deleted' ? { ...after, host: after.host ?? before?.host ?? null } : after
    const payload = updatePayload(context, there, update, currentPeriod(auditPeriod, this.#now()))
    const teller = this.#tellerOf(there.host ?? before?.host)
    return [teller.#message('instance.update', context, there, payload, false)]
  }

  #tellerOf(host: string | null | undefined): InstanceEvents {
    return host ? this.onBehalfOf(host) : this
  }

  #now(): Date {
    return this.#options.now?.() ?? new Date()
  }

  /** `instance.exists`, in the name of the host that it is on; on none, in ours. */
  exists({ context, instance }: InstanceExistence, period: AuditPeriod): DurableMessage {
    const teller = this.#tellerOf(instance.host)
    return teller.#message('instance.exists', context, instance, auditPayload(context, instance, period), false)
  }

  /**
   * `instance.exists` of the period that has begun, up to now, which Nova tells as it rebuilds, rescues, resizes, reverts and shelves:
   * how the instance is before that. Source: nova/compute/manager.py, notify_usage_exists with current_period.
   */
  existsSoFar(context: RequestContext, instance: Instance): DurableMessage {
    const period = currentPeriod(this.#options.auditPeriod ?? 'month', this.#now())
    return this.#message('instance.exists', context, instance, existsPayload(context, instance, period), false)
  }

  /** `compute_task.build_instances.error`: no host took the instance, so there is none to tell it. */
  buildFailed(context: RequestContext, instance: Instance, spec: RequestSpec, error: SevbusError): DurableMessage {
    return this.#taskFailed('build_instances', context, instance, spec, error)
  }

  /** `compute_task.rebuild_server.error`: the instance could not be evacuated. */
  rebuildFailed(context: RequestContext, instance: Instance, spec: RequestSpec, error: SevbusError): DurableMessage {
    return this.#taskFailed('rebuild_server', context, instance, spec, error)
  }

  /** `compute_task.migrate_server.error`: the instance could not be resized, or migrated. */
  migrationFailed(context: RequestContext, instance: Instance, spec: RequestSpec, error: SevbusError): DurableMessage {
    return this.#taskFailed('migrate_server', context, instance, spec, error)
  }

  /** `instance.resize_prep`, of the host that the instance is to come to: with the flavor that it is to have. */
  resizePrep(phase: 'start' | 'end', context: RequestContext, instance: Instance, flavor: Flavor): DurableMessage {
    const fields = { ...instanceFields(context, instance, null), new_flavor: flavorPayload(flavor) }
    const body = { ...InstanceActionResizePrepPayload.wrap(fields), sevbus: extension(instance) }
    return this.#message(`instance.resize_prep.${phase}`, context, instance, body, false)
  }

  #taskFailed(
    task: FailedTask,
    context: RequestContext,
    instance: Instance,
    spec: RequestSpec,
    error: SevbusError,
  ): DurableMessage {
    const { group } = spec.scheduler_hints
    const payload = ComputeTaskPayload.wrap({
      instance_uuid: instance.uuid,
      // What else there is to it, schedulers know.
      request_spec: requestSpecPayload(spec, group === null ? undefined : namedGroup(group)),
      state: instance.vm_state,
      reason: exceptionPayload(error, { module: 'sevbus.conductor', function: task }),
    })
    return this.#message(`compute_task.${task}.error`, context, instance, payload, true)
  }

  #message(event: string, context: RequestContext, instance: Instance, payload: object, failed: boolean) {
    return notificationMessage(this.#names, {
      event_type: event,
      priority: failed ? 'ERROR' : 'INFO',
      publisher_id: this.#publisher,
      context,
      payload,
      extension: extension(instance),
      // Of their own key: trouble with notifications must not hold back what workers say to each other.
      orderingKey: eventsKey(instance.uuid),
      at: this.#now(),
    })
  }
}

/** Of all notifications of an instance: they leave in their order, and are numbered together. */
export function eventsKey(instanceUuid: string): string {
  return `${instanceUuid.toLowerCase()}/events`
}

function payloadOf(
  event: InstanceEvent,
  instance: Instance,
  fields: ReturnType<typeof instanceFields>,
  action: InstanceAction | undefined,
) {
  switch (action?.name) {
    case 'attach_volume':
      return InstanceActionVolumePayload.wrap({ ...fields, volume_id: action.volume.volume_id })
    case 'detach_volume':
      return InstanceActionVolumePayload.wrap({ ...fields, volume_id: action.volume_id })
    case 'rescue':
      return InstanceActionRescuePayload.wrap({ ...fields, rescue_image_ref: action.image.id ?? null })
    case 'snapshot':
      return InstanceActionSnapshotPayload.wrap({ ...fields, snapshot_image_id: String(action.image.id) })
  }
  if (event.startsWith('instance.rebuild')) {
    return InstanceActionRebuildPayload.wrap({ ...fields, trusted_image_certificates: null })
  }
  if (!event.startsWith('instance.create')) return InstanceActionPayload.wrap(fields)
  return InstanceCreatePayload.wrap({
    ...fields,
    keypairs: [],
    tags: [],
    trusted_image_certificates: null,
    instance_name: instance.name,
  })
}

function functionOf(event: InstanceEvent): string {
  const [, what = ''] = event.split('.')
  return what === 'create' || what === 'rebuild' || what === 'unshelve' ? 'build_and_run_instance' : what
}

function extension(instance: Instance): Omit<SevbusExtension, 'sequence'> {
  return {
    version: SEVBUS_EXTENSION_VERSION,
    mem_encryption: instance.mem_encryption,
    launch_extra_specs: launchFlavor(instance.flavor, instance.mem_encryption).extra_specs,
    slot: slotOf(instance),
  }
}

/** By the name of its pool: a guest whose claim is another one is not started (CLAIM_MISMATCH). */
function slotOf({ host, mem_encryption: encryption }: Instance): SevbusExtension['slot'] {
  if (host === null || encryption === null) return null
  const provider = `${host}${MEM_ENCRYPTION_MODELS[encryption.model].poolSuffix}`
  return { provider, resource_class: MEM_ENCRYPTION_CONTEXT, amount: 1 }
}
