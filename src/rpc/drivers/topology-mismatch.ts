import { TopologyMismatch } from '../../errors.ts'
import type { Declaration, ExchangeDeclaration, QueueDeclaration } from './rabbit-topology.ts'
import { remedyFor } from './topology-remedy.ts'

/** AMQP's replies to a declaration that can never succeed. */
const ACCESS_REFUSED = 403
const RESOURCE_LOCKED = 405
const PRECONDITION_FAILED = 406
const INTERNAL_ERROR = 541

/** RabbitMQ's sentence, the same for queues and exchanges since 3.8; the values may be cut off at its end. */
const INEQUIVALENT = /inequivalent arg '([^']+)' for (?:queue|exchange) .*: received .* but current is (.*)$/s

/**
 * Why the broker refuses a declaration, with the queue or exchange, the argument, both values and the option to change.
 * @returns undefined when the error is of another kind, which may pass
 */
export function mismatchOf(error: unknown, declaration: Declaration): TopologyMismatch | undefined {
  if (!(error instanceof Error && 'code' in error)) return undefined
  const what = describe(declaration)
  // amqplib wraps the broker's own sentence.
  const reason = /with message "(.*)"/s.exec(error.message)?.[1] ?? error.message
  const refused = (fix: string) =>
    new TopologyMismatch(`the broker refuses the ${what}: ${reason}; ${fix}`, { what, reason, fix })
  switch (error.code) {
    case ACCESS_REFUSED:
      return refused('give the user of the broker URL configure, write and read permission on these names')
    case RESOURCE_LOCKED:
      return refused('it belongs to one other connection; end that, or configure another prefix of the topics')
    case PRECONDITION_FAILED:
      return (
        inequivalence(what, reason, declaration) ??
        refused('change what it complains about, or configure another prefix of the topics')
      )
    case INTERNAL_ERROR:
      // RabbitMQ 4.3, with its defaults, and the topology oslo-default.
      return reason.includes('transient_nonexcl_queues') ? refused(NO_TRANSIENT_QUEUES) : undefined
    default:
      return undefined
  }
}

/** `queue compute.node1`: for people. */
export function describe(declaration: Declaration): string {
  if (declaration.kind !== 'binding') return `${declaration.kind} ${declaration.name}`
  return `binding of queue ${declaration.queue} to exchange ${declaration.exchange}`
}

const NO_TRANSIENT_QUEUES =
  'set transport.topology to quorum or classic-durable (rabbit_quorum_queue=1 or amqp_durable_queues=1 in the URL) here and at every peer, or have the broker permit them: deprecated_features.permit.transient_nonexcl_queues = true'

function inequivalence(what: string, reason: string, declaration: Declaration): TopologyMismatch | undefined {
  const [, argument, current] = INEQUIVALENT.exec(reason) ?? []
  if (argument === undefined || current === undefined || declaration.kind === 'binding') return undefined
  const have = valueIn(current)
  const want = declared(declaration, argument)
  const { fix, ...options } = remedyFor(declaration, argument, have)
  const message = `the ${what} is on the broker with ${argument} ${have}, and is declared here with ${want}; ${fix}`
  return new TopologyMismatch(message, { what, argument, have, want, ...options, reason, fix })
}

/** `'false'`, `none`, `the value 'quorum' of type 'longstr'` */
function valueIn(text: string): string {
  return /'([^']*)'/.exec(text)?.[1] ?? text
}

function declared(declaration: ExchangeDeclaration | QueueDeclaration, argument: string): string {
  const { durable, autoDelete: auto_delete } = declaration
  const kept = declaration.kind === 'exchange' ? { type: declaration.type } : declaration.arguments
  const values: Readonly<Record<string, unknown>> = { durable, auto_delete, ...kept }
  return String(values[argument] ?? 'none')
}
