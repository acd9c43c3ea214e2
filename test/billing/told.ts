import { randomUUID } from 'node:crypto'
import type { AnyNotification } from '../../src/notifications/notification.ts'

export const INSTANCE = '178b0921-8f85-4257-88b6-2e743b5a975c'

interface Telling {
  readonly message_id?: string
  /** When it was told; else the moment that the payload names. */
  readonly at?: string
  readonly uuid?: string
  readonly project?: string
  /** Null: it is on none. */
  readonly host?: string | null
  readonly flavor?: { readonly name: string; readonly vcpus?: number | null; readonly memory_mb?: number | null }
  readonly extra_specs?: Readonly<Record<string, string>>
  /** Null: it runs in clear; `nova`: told by a Nova, which has no word of it. */
  readonly model?: string | null
  readonly state?: string
  readonly launched_at?: string | null
  readonly terminated_at?: string | null
  readonly updated_at?: string | null
  readonly period?: readonly [string, string]
  readonly sequence?: number
  /** Who has asked for the operation that it is told with; else nobody. */
  readonly initiator?: string
  /** The request that it is told with. */
  readonly request_id?: string
}

/** A notification of an instance, as far as it is billed by. */
export function told(event_type: string, telling: Telling = {}): AnyNotification {
  const { terminated_at = null, model = 'amd-sev', initiator = null, request_id = null, period, sequence } = telling
  const launched_at = telling.launched_at === undefined ? launchOf(event_type, telling) : telling.launched_at
  const at = telling.at ?? period?.[1] ?? terminated_at ?? launched_at ?? '2026-11-01T00:00:00Z'
  const { name, vcpus = 2, memory_mb = 4096 } = telling.flavor ?? { name: 'm1.sev' }
  const data = {
    uuid: telling.uuid ?? INSTANCE,
    tenant_id: telling.project ?? 'blue',
    user_id: 'ada',
    display_name: 'web-1',
    host: telling.host === undefined ? 'node1' : telling.host,
    state: telling.state ?? 'active',
    launched_at,
    terminated_at,
    updated_at: telling.updated_at ?? null,
    deleted_at: terminated_at,
    flavor: object('FlavorPayload', { name, vcpus, memory_mb, extra_specs: telling.extra_specs ?? {} }),
    request_id,
    action_initiator_user: initiator,
    action_initiator_project: null,
    ...(period && {
      audit_period: object('AuditPeriodPayload', {
        audit_period_beginning: period[0],
        audit_period_ending: period[1],
      }),
    }),
  }
  const mem_encryption = model === null ? null : { model, policy: '0x0033', requested_by: 'flavor' }
  return {
    message_id: telling.message_id ?? randomUUID(),
    publisher_id: 'nova-compute:node1',
    event_type,
    priority: 'INFO',
    timestamp: at.replace('T', ' ').replace('Z', at.includes('.') ? '000' : '.000000'),
    payload: {
      ...object('InstanceActionPayload', data),
      ...(model !== 'nova' && {
        sevbus: { version: '1.0', mem_encryption, launch_extra_specs: {}, ...(sequence && { sequence }) },
      }),
    },
  }
}

/** What comes to another host, or back from the shelf, is launched there. */
function launchOf(event_type: string, { at }: Telling): string {
  const isLaunch = ['instance.resize_finish.end', 'instance.unshelve.end'].includes(event_type)
  return isLaunch && at !== undefined ? `${at.slice(0, 19)}Z` : '2026-11-01T00:00:00Z'
}

function object(name: string, data: object) {
  return {
    'nova_object.name': name,
    'nova_object.namespace': 'nova',
    'nova_object.version': '1.0',
    'nova_object.data': data,
  }
}
