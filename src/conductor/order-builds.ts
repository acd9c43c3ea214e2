import { UnserializableValue } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { Allocation } from '../objects/request-spec.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { inParts, inPartsThatFit } from '../rpc/in-parts.ts'
import type { InstanceRecord } from './instance-store.ts'
import { buildContent, buildMessage, buildsMessage, type Sender } from './messages.ts'

/** Builds in one message, at most. Each may have 256 KB of flavor and image: then fewer fit. */
const MAX_TOGETHER = 16

/** A build that its host is told of in the step that has placed it there. */
export interface Ordered {
  readonly record: Pick<InstanceRecord, 'context'>
  readonly next: Instance
  readonly allocations: readonly Allocation[]
}

/**
 * What hosts are told of guests that they are to build: those of one host in one message. What belongs to a trace has one of its own,
 * whose spans are of one request.
 *
 * The one of many is to be stored only if the steps of all of them are made: a guest that is built for a step that is not would run
 * without a claim.
 *
 * @returns `each` is in the order of those that are asked for
 */
export function ordersOf(
  sender: Sender,
  ordered: readonly Ordered[],
): { readonly each: readonly (readonly DurableMessage[])[]; readonly ofAll: readonly DurableMessage[] } {
  const together = togetherOf(ordered).flatMap((group) => ordersOfGroup(sender, group))
  const grouped = new Set(together.flatMap(({ group }) => group))
  return {
    each: ordered.map((one) => (grouped.has(one) ? [] : [orderOf(sender, one)])),
    ofAll: together.map(({ message }) => message),
  }
}

export function orderOf(sender: Sender, { record, next, allocations }: Ordered): DurableMessage {
  return buildMessage(sender, record.context, next.host as string, next, allocations, undefined)
}

function togetherOf(ordered: readonly Ordered[]): readonly (readonly Ordered[])[] {
  const untraced = ordered.filter(({ record }) => record.context.traceparent === undefined)
  const hosts = [...new Set(untraced.map(({ next }) => next.host))]
  const byHost = hosts.map((host) => untraced.filter(({ next }) => next.host === host))
  return byHost.flatMap((all) => inParts(all, MAX_TOGETHER))
}

/** Nothing of those that go by themselves: who is alone, or what no message can carry for another reason than its length. */
function ordersOfGroup(
  sender: Sender,
  group: readonly Ordered[],
): readonly { readonly group: readonly Ordered[]; readonly message: DurableMessage }[] {
  if (group.length === 1) return []
  try {
    return [{ group, message: buildsMessage(sender, group) }]
  } catch (error) {
    if (!(error instanceof UnserializableValue)) throw error
    const parts = inPartsThatFit(group, buildContent)
    return parts.length === 1 ? [] : parts.flatMap((part) => ordersOfGroup(sender, part))
  }
}
