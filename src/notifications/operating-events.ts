import type { Aggregate } from '../objects/aggregate.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type NotificationNames, notificationMessage } from './notification.ts'
import { AggregatePayload, ServiceStatusPayload } from './operating-payloads.ts'
import { type StoredServerGroup, serverGroupPayload } from './server-group-payload.ts'

export type ServiceEvent = 'service.create' | 'service.update'
export type AggregateAction = 'create' | 'delete' | 'add_host' | 'remove_host' | 'update_metadata'
export type ServerGroupEvent = 'server_group.create' | 'server_group.delete' | 'server_group.add_member'

/** The compute service of a host, as it is stored. */
export interface ServiceStatus {
  readonly uuid: string
  readonly host: string
  readonly disabled: boolean
  readonly disabled_reason: string | null
  readonly forced_down: boolean
  readonly availability_zone: string | null
  /** Grows with each report. */
  readonly report_count: number
  readonly last_seen_up: Date
}

/** With what names it to those who count aggregates. */
export interface StoredAggregate extends Aggregate {
  readonly id: number
  readonly uuid: string
}

/** Of what compute services say of themselves here; Nova counts its own. */
const SERVICE_VERSION = 1

/** Makes the notifications of what operators decide, and of hosts that come; what is made is stored with the fact. */
export class OperatingEvents {
  readonly #names: NotificationNames
  readonly #host: string
  readonly #now: () => Date

  /** @param host of the process that tells: consumers look for what operators do at Nova's API, `nova-api:<host>` */
  constructor(names: NotificationNames, host: string, now: () => Date = () => new Date()) {
    this.#names = names
    this.#host = host
    this.#now = now
  }

  /** In the name of the service itself. */
  service(event: ServiceEvent, context: RequestContext, { last_seen_up, ...status }: ServiceStatus): DurableMessage {
    const payload = ServiceStatusPayload.wrap({
      ...status,
      binary: 'nova-compute',
      topic: 'compute',
      last_seen_up: `${last_seen_up.toISOString().slice(0, 19)}Z`,
      version: SERVICE_VERSION,
    })
    return this.#message(event, `nova-compute:${status.host}`, context, payload, `service/${status.host}`)
  }

  /** What was, and what is: both are told when it is done. */
  aggregate(
    action: AggregateAction,
    context: RequestContext,
    before: Omit<StoredAggregate, 'id' | 'hosts'> & Partial<Pick<StoredAggregate, 'id' | 'hosts'>>,
    after: StoredAggregate,
  ): readonly DurableMessage[] {
    const phases = { start: before, end: after }
    return Object.entries(phases).map(([phase, { id, uuid, name, hosts, metadata }]) => {
      const known = { ...(id !== undefined && { id }), ...(hosts !== undefined && { hosts }) }
      const payload = AggregatePayload.wrap({ ...known, uuid, name, metadata })
      return this.#message(`aggregate.${action}.${phase}`, this.#api, context, payload, `aggregate/${uuid}`)
    })
  }

  /** @param members of `add_member` the one that comes, as in Nova */
  serverGroup(
    event: ServerGroupEvent,
    context: RequestContext,
    group: StoredServerGroup,
    members: readonly string[] = [],
  ): DurableMessage {
    const payload = serverGroupPayload({ ...group, members, hosts: null })
    return this.#message(event, this.#api, context, payload, `server_group/${group.uuid}`)
  }

  get #api(): string {
    return `nova-api:${this.#host}`
  }

  #message(event_type: string, publisher_id: string, context: RequestContext, payload: object, orderingKey: string) {
    const draft = { event_type, publisher_id, context, payload, orderingKey, at: this.#now() }
    return notificationMessage(this.#names, { ...draft, priority: 'INFO' })
  }
}
