import { MessageUndeliverable, type SevbusError, TopologyMismatch } from '../../errors.ts'

/** AMQP's replies to a message that its exchange may not have, or whose exchange is not there: the channel ends by both. */
const ACCESS_REFUSED = 403
const NOT_FOUND = 404

/** RabbitMQ's name for the exchange whose name is empty, where it speaks of permissions. */
const DEFAULT_EXCHANGE = 'amq.default'

/** Why the broker closed a channel that only publishes. */
export interface PublishRefusal {
  /** `missing`: the next message to it declares it again. */
  readonly kind: 'forbidden' | 'missing'
  readonly exchange: string
  /** The broker's own sentence. */
  readonly reason: string
}

/** @returns undefined when it was closed for something that is not about an exchange */
export function publishRefusalOf(error: unknown): PublishRefusal | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  if (error.code !== ACCESS_REFUSED && error.code !== NOT_FOUND) return undefined
  // amqplib wraps the broker's own sentence.
  const reason = /with message "(.*)"/s.exec(error.message)?.[1] ?? error.message
  const [, exchange] = /exchange '([^']*)'/.exec(reason) ?? []
  if (exchange === undefined) return undefined
  return { kind: error.code === NOT_FOUND ? 'missing' : 'forbidden', exchange, reason }
}

/** Others on the channel are lost with it, and are not what is refused. */
export function isRefused(exchange: string, refusal: PublishRefusal | undefined): boolean {
  return refusal?.exchange === (exchange || DEFAULT_EXCHANGE)
}

/** Where the exchange was deleted its bindings went with it: the same as a message that no queue takes. */
export function publishRefused({ kind, exchange, reason }: PublishRefusal, destination: string): SevbusError {
  const what = `exchange ${exchange}`
  if (kind === 'missing') {
    const fix = 'the next message declares the exchange again, its servers bind to it when they check themselves'
    const text = `no queue takes a message to ${destination}: ${reason}; ${fix}`
    return new MessageUndeliverable(text, { what, destination, reason, fix })
  }
  const fix = permissionFix(exchange, reason)
  const text = `the broker refuses a message to ${destination}: ${reason}; ${fix}`
  return new TopologyMismatch(text, { what, destination, reason, fix })
}

function permissionFix(exchange: string, reason: string): string {
  const [, vhost = 'VHOST'] = /in vhost '([^']*)'/.exec(reason) ?? []
  const [, user = 'USER'] = /for user '([^']*)'/.exec(reason) ?? []
  // Those of a topic exchange come on top of those of every exchange: https://www.rabbitmq.com/docs/access-control
  const isTopic = reason.includes("access to topic '")
  return isTopic
    ? `let the user write this topic: rabbitmqctl set_topic_permissions -p ${vhost} ${user} ${exchange} WRITE READ`
    : `let the user write to it: rabbitmqctl set_permissions -p ${vhost} ${user} CONFIGURE WRITE READ, with a WRITE that matches ${exchange}`
}
