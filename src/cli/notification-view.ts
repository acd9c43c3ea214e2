import pc from 'picocolors'
import type { Notification } from '../notifications/notification.ts'

/** What billing charges by, out of one notification. */
export interface BillingFacts {
  readonly message_id: string
  readonly event_type: string
  readonly timestamp: string
  readonly instance_uuid: string | null
  readonly display_name: string | null
  /** Of an aggregate, or of a server group. */
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
    name: text(data.name),
    host: text(data.host),
    state: text(data.state),
    flavor: text(flavor?.name),
    extra_specs: (flavor?.extra_specs ?? {}) as Record<string, string>,
    mem_encryption: payload.sevbus?.mem_encryption ?? null,
  }
}

export function notificationLine(facts: BillingFacts): string {
  const encryption = facts.mem_encryption ? pc.cyan(facts.mem_encryption.model) : 'in clear'
  const specs = Object.entries(facts.extra_specs)
    .map(([key, value]) => `${key}=${value}`)
    .join(' ')
  const event = facts.event_type.endsWith('.error') ? pc.red(facts.event_type) : facts.event_type
  // What is about no instance is about no encryption either.
  if (facts.instance_uuid === null) return `${event.padEnd(24)} ${facts.name ?? facts.host ?? '-'}`
  const who = facts.display_name ?? facts.instance_uuid
  return `${event.padEnd(24)} ${who} on ${facts.host ?? 'no host'}: ${encryption}${specs ? `, ${specs}` : ''}`
}

function nested(value: unknown): Record<string, unknown> | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Record<string, unknown>)['nova_object.data'] as Record<string, unknown> | undefined
}

function text(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
