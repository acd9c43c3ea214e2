import type { Instance } from '../objects/instance.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { inParts } from '../rpc/in-parts.ts'
import type { InstanceRecord } from './instance-store.ts'
import { noteBuildMessage, noteBuildsMessage, type Sender } from './messages.ts'

/** As `note_builds` takes them. */
const MOST_TOLD = 100

interface Running {
  readonly record: Pick<InstanceRecord, 'context'>
  readonly next: Instance
}

/**
 * What a scheduler is told of guests that run: of many in one message. What belongs to a trace has one of its own, whose spans are
 * of one request.
 *
 * The one of many is stored whatever becomes of their steps: where another was at the instance the guest runs all the same, and
 * nobody is counted twice.
 *
 * @returns `each` is in the order of those that run
 */
export function notesOf(
  sender: Sender,
  running: readonly Running[],
): { readonly each: readonly (readonly DurableMessage[])[]; readonly ofAll: readonly DurableMessage[] } {
  const untraced = running.filter(({ record }) => record.context.traceparent === undefined)
  const together = untraced.length > 1 ? untraced : []
  const each = running.map((one) => {
    const { record, next } = one
    return together.includes(one) ? [] : [noteBuildMessage(sender, record.context, next, next.host as string, null)]
  })
  const [first] = together
  const guests = together.map(({ next }) => ({ ...next, host: next.host as string }))
  const ofAll =
    first === undefined
      ? []
      : inParts(guests, MOST_TOLD).map((some) => noteBuildsMessage(sender, first.record.context, some))
  return { each, ofAll }
}
