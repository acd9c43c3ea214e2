import type { z } from 'zod'
import type { SevbusError } from '../errors.ts'
import type { Flavor } from '../objects/flavor.ts'
import type { ImageMeta } from '../objects/image-meta.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import type { SchedulerHints } from '../objects/scheduler-hints.ts'
import { cleanText } from '../objects/text.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { AuditPeriod } from './audit-period.ts'
import { type PowerStateWord, taskWord } from './instance-words.ts'
import {
  AuditPeriodPayload,
  ExceptionPayload,
  FlavorPayload,
  InstanceExistsPayload,
  type InstanceStateUpdatePayload,
  InstanceUpdatePayload,
  IpPayload,
} from './payloads.ts'
import { ImageMetaPayload, ImageMetaPropsPayload, RequestSpecPayload } from './request-payloads.ts'
import { serverGroupPayload, type ToldServerGroup } from './server-group-payload.ts'

/** Longer texts are cut: a notification must fit into a message, whatever failed. */
const MAX_TEXT = 16_000

/** Nova's notification timestamps have seconds and `Z`: `2012-10-29T13:42:11Z`. */
function moment(iso: string | null): string | null {
  return iso === null ? null : `${iso.slice(0, 19)}Z`
}

export function flavorPayload(flavor: Flavor) {
  return FlavorPayload.wrap({ ...flavor })
}

/** @param where the function that failed, for the reader who greps */
export function exceptionPayload(error: SevbusError, where: { module: string; function: string }) {
  return ExceptionPayload.wrap({
    module_name: where.module,
    function_name: where.function,
    exception: error.name,
    exception_message: cleanText(error.message, MAX_TEXT),
    // Paths of a host are nobody's business; the chain of causes is what helps.
    traceback: cleanText(causes(error).join(','), MAX_TEXT),
  })
}

function causes(error: Error): string[] {
  const line = `${error.name}: ${error.message}`
  return error.cause instanceof Error ? [line, ...causes(error.cause)] : [line]
}

/** Nova's words for what the guest of an instance does; `pending`: it has none, or nobody knows. */
const POWER_STATES: Partial<Record<Instance['vm_state'], z.infer<typeof PowerStateWord>>> = {
  active: 'running',
  paused: 'paused',
  // libvirt's suspended guests are off, and Nova says so.
  suspended: 'shutdown',
  stopped: 'shutdown',
  rescued: 'running',
  shelved: 'shutdown',
  shelved_offloaded: 'shutdown',
}

/** All fields of Nova's InstancePayload; what this system has no source for is null. */
export function instanceFields(
  context: RequestContext,
  instance: Instance,
  fault: ReturnType<typeof exceptionPayload> | null,
) {
  return {
    uuid: instance.uuid,
    user_id: instance.user_id,
    tenant_id: instance.project_id,
    reservation_id: null,
    display_name: instance.name,
    display_description: instance.name,
    host_name: instance.name,
    host: instance.host,
    node: instance.host,
    os_type: null,
    architecture: 'x86_64',
    availability_zone: instance.availability_zone,
    flavor: flavorPayload(instance.flavor),
    image_uuid: instance.image.id ?? null,
    key_name: null,
    kernel_id: '',
    ramdisk_id: '',
    created_at: moment(instance.created_at),
    launched_at: moment(instance.launched_at),
    terminated_at: moment(instance.terminated_at),
    deleted_at: moment(instance.vm_state === 'deleted' ? instance.terminated_at : null),
    updated_at: moment(instance.updated_at),
    state: instance.vm_state,
    power_state: POWER_STATES[instance.vm_state] ?? 'pending',
    task_state: taskWord(instance.task_state),
    progress: 0,
    ip_addresses: instance.ip_addresses.map((ip) =>
      IpPayload.wrap({ ...ip, meta: {}, port_uuid: null, device_name: null }),
    ),
    block_devices: null,
    metadata: {},
    locked: false,
    auto_disk_config: 'MANUAL' as const,
    request_id: context.request_id,
    action_initiator_user: context.user_id ?? null,
    action_initiator_project: context.project_id ?? null,
    locked_reason: null,
    shares: null,
    fault,
  }
}

export function existsPayload(context: RequestContext, instance: Instance, period: AuditPeriod) {
  const { fault: _, ...fields } = instanceFields(context, instance, null)
  return InstanceExistsPayload.wrap({ ...fields, audit_period: periodPayload(period) })
}

/** Nobody asked for it: Nova tells no request of its periodic tasks. */
export function auditPayload(context: RequestContext, instance: Instance, period: AuditPeriod) {
  const { 'nova_object.data': data, ...payload } = existsPayload(context, instance, period)
  const nobody = { request_id: null, action_initiator_user: null, action_initiator_project: null }
  return { ...payload, 'nova_object.data': { ...data, ...nobody } }
}

/** @param period that has begun, up to now */
export function updatePayload(
  context: RequestContext,
  instance: Instance,
  state_update: ReturnType<typeof InstanceStateUpdatePayload.wrap>,
  period: AuditPeriod,
) {
  const { fault: _, ...fields } = instanceFields(context, instance, null)
  const audit_period = periodPayload(period)
  return InstanceUpdatePayload.wrap({ ...fields, state_update, audit_period, old_display_name: null, tags: [] })
}

function periodPayload({ beginning, ending }: AuditPeriod) {
  return AuditPeriodPayload.wrap({
    audit_period_beginning: moment(beginning.toISOString()) as string,
    audit_period_ending: moment(ending.toISOString()) as string,
  })
}

/** @param group that it names, as far as it is known; undefined: there is none */
export function requestSpecPayload(spec: RequestSpec, group: ToldServerGroup | undefined) {
  return RequestSpecPayload.wrap({
    instance_uuid: spec.instance_uuid,
    project_id: spec.project_id,
    user_id: spec.user_id,
    availability_zone: spec.availability_zone,
    flavor: flavorPayload(spec.flavor),
    image: imagePayload(spec.image),
    num_instances: 1,
    force_hosts: spec.force_hosts[0] ?? null,
    force_nodes: null,
    ignore_hosts: spec.ignore_hosts,
    instance_group: group === undefined ? null : serverGroupPayload(group),
    numa_topology: null,
    pci_requests: null,
    requested_destination: null,
    retry: null,
    scheduler_hints: hintLists(spec.scheduler_hints),
    security_groups: [],
  })
}

/** Nova has a list for each hint, and none for one that was not given. */
function hintLists(hints: SchedulerHints): Record<string, string[]> {
  const lists = Object.entries(hints).map(([hint, value]) => [hint, [value ?? []].flat()] as const)
  return Object.fromEntries(lists.filter(([, values]) => values.length > 0))
}

function imagePayload(image: ImageMeta) {
  const { properties, id, name, checksum, size, container_format, disk_format, min_ram, min_disk } = image
  return ImageMetaPayload.wrap({
    id: id ?? null,
    name: name ?? null,
    status: null,
    visibility: null,
    protected: null,
    checksum: checksum ?? null,
    owner: null,
    size: size ?? null,
    virtual_size: null,
    container_format: container_format ?? null,
    disk_format: disk_format ?? null,
    created_at: null,
    updated_at: null,
    tags: null,
    direct_url: null,
    min_ram,
    min_disk,
    properties: ImageMetaPropsPayload.wrap({ ...properties }),
  })
}
