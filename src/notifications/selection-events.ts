import type { RequestSpec } from '../objects/request-spec.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { type NotificationNames, notificationMessage } from './notification.ts'
import { requestSpecPayload } from './payload-builders.ts'
import type { ToldServerGroup } from './server-group-payload.ts'

/** That a host is sought, and that one is found. */
export type SelectionEvent = `scheduler.select_destinations.${'start' | 'end'}`

/** A request for a host, as those hear of it who watch schedulers. */
export interface AskedSelection {
  readonly context: RequestContext
  readonly spec: RequestSpec
  readonly askedAt: Date
  /** That the request names, as it was then. */
  readonly group?: ToldServerGroup | undefined
}

/** Makes what a scheduler tells of requests. Both have the request alone, as in Nova: where it goes is told by its build. */
export class SelectionEvents {
  readonly #names: NotificationNames
  readonly #publisher: string
  readonly #now: () => Date

  constructor(names: NotificationNames, host: string, now: () => Date = () => new Date()) {
    this.#names = names
    this.#publisher = `nova-scheduler:${host}`
    this.#now = now
  }

  /** Of one that no host was found for: it was asked, and nothing has ended. */
  refused(asked: AskedSelection): readonly DurableMessage[] {
    const payload = requestSpecPayload(asked.spec, asked.group)
    return [this.#message('scheduler.select_destinations.start', asked, asked.askedAt, payload)]
  }

  found(asked: AskedSelection): readonly DurableMessage[] {
    const payload = requestSpecPayload(asked.spec, asked.group)
    return [
      this.#message('scheduler.select_destinations.start', asked, asked.askedAt, payload),
      this.#message('scheduler.select_destinations.end', asked, this.#now(), payload),
    ]
  }

  #message(event_type: SelectionEvent, { context, spec }: AskedSelection, at: Date, payload: object): DurableMessage {
    return notificationMessage(this.#names, {
      ...{ event_type, context, payload, at, priority: 'INFO', publisher_id: this.#publisher },
      orderingKey: `${spec.instance_uuid.toLowerCase()}/selection`,
    })
  }
}
