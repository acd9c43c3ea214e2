import type { SpanDraft } from '../rpc/tracing.ts'

/** A notification on its way, as OpenTelemetry's conventions for messaging name it. */
export function sentSpan(topic: string, event: string): SpanDraft {
  return span('send', 'producer', topic, event)
}

/** Its handling; of several at once, the first's event names all. */
export function processedSpan(topic: string, event: string | null, count: number): SpanDraft {
  const draft = span('process', 'consumer', topic, event ?? 'notification')
  return { ...draft, attributes: { ...draft.attributes, 'messaging.batch.message_count': count } }
}

function span(operation: string, kind: SpanDraft['kind'], topic: string, event: string): SpanDraft {
  const attributes = {
    'messaging.system': 'rabbitmq',
    'messaging.operation.type': operation,
    'messaging.destination.name': topic,
    'sevbus.event_type': event,
  }
  return { name: `${operation} ${event}`, kind, attributes }
}
