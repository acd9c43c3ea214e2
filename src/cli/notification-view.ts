import pc from 'picocolors'
import type { Notification } from '../notifications/notification.ts'

/** What billing charges by, out of one notification. */
export interface BillingFacts {
  readonly message_id: string
  readonly event_type: string
  readonly timestamp: string
  readonly instance_uuid: string | null
  readonly display_name: string | null
  /** Of an aggregate, a server group or an exception. */
  readonly name: string | null
  readonly host: string | null
  readonly state: string | null
  readonly flavor: string | null
  readonly extra_specs: Readonly<Record<string, string>>
  /** What it really runs with: null means in clear. */
  readonly mem_encryption: { readonly model: string; readonly policy: string; readonly requested_by: string } | null
}

export function billingFacts({ message_id, event_type, timestamp, payload }: Notification): BillingFacts {
  const data = payload['nova_object.data']
  const spec = nested(data.request_spec)
  const flavor = nested(data.flavor ?? spec?.flavor)
  return {
    message_id,
    event_type,
    timestamp,
    // Hosts, aggregates and groups have uuids, too.
    instance_uuid: text(event_type.startsWith('instance.') ? data.uuid : data.instance_uuid),
    display_name: text(data.display_name),
    name: text(data.name ?? data.exception ?? data.ip),
    host: text(data.host),
    state: text(data.state),
    flavor: text(flavor?.name),
    extra_specs: (flavor?.extra_specs ?? {}) as Record<string, string>,
    mem_encryption: payload.sevbus?.mem_encryption ?? null,
  }
}

export function notificationLine(facts: BillingFacts): string {
  const { event_type, instance_uuid, display_name, name, host, mem_encryption } = facts
  const isBad = event_type.endsWith('.error') || event_type === 'compute.exception'
  const event = (isBad ? pc.red(event_type) : event_type).padEnd(24)
  // What is about no instance is about no encryption either, and a request does not say yet which it gets.
  if (instance_uuid === null) return `${event} ${name ?? host ?? '-'}`
  const specs = Object.entries(facts.extra_specs).map(([key, value]) => `${key}=${value}`)
  if (event_type.startsWith('scheduler.')) return `${event} ${[instance_uuid, ...specs].join(' ')}`
  const encryption = mem_encryption ? pc.cyan(mem_encryption.model) : 'in clear'
  const runsWith = specs.length > 0 ? `${encryption}, ${specs.join(' ')}` : encryption
  return `${event} ${display_name ?? instance_uuid} on ${host ?? 'no host'}: ${runsWith}`
}

function nested(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Record<string, unknown>)['nova_object.data'] as Record<string, unknown> | undefined
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
