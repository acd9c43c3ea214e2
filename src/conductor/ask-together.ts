import type { z } from 'zod'
import {
  InternalError,
  InvalidArguments,
  NoSuchMethod,
  RemoteError,
  UnserializableValue,
  UnsupportedVersion,
} from '../errors.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import type { ClientOf } from '../rpc/contract.ts'
import { decodeFailure } from '../rpc/failure.ts'
import { inParts, inPartsThatFit } from '../rpc/in-parts.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { SchedulerApi } from '../scheduler/rpc-api.ts'

/** Requests in one message, at most. Each may have 256 KB of flavor and image: then fewer fit. */
const MAX_TOGETHER = 16
/** So long schedulers that do not know the question are asked one by one, in milliseconds; they may be upgraded meanwhile. */
const ONE_BY_ONE_MS = 60_000

/** Asks for a host for one try. @throws what the scheduler refused it with */
export type AskForHost = (context: RequestContext, spec: RequestSpec, signal: AbortSignal) => Promise<Selection>

type Answer = z.output<(typeof SchedulerApi)['methods']['selectDestinationsOfMany']['output']>['answers'][number]

interface Asked {
  readonly context: RequestContext
  readonly spec: RequestSpec
  readonly signal: AbortSignal
  readonly resolve: (selection: Selection) => void
  readonly reject: (error: unknown) => void
}

/**
 * Builds that ask for a host in one turn of the event loop ask in one call, as those do that were stored together. A move asks
 * by itself, for it may wait for another's end; so does what belongs to a trace, whose spans are of one request.
 */
export function askingTogether(
  scheduler: Pick<ClientOf<typeof SchedulerApi>, 'selectDestinations' | 'selectDestinationsOfMany'>,
): AskForHost {
  let waiting: Asked[] = []
  let oneByOneUntilMs = 0

  const askAlone: AskForHost = async (context, spec, signal) =>
    (await scheduler.selectDestinations(context, { request_spec: spec }, { signal })).selection
  const askEachAlone = (asked: readonly Asked[]) => {
    for (const { context, spec, signal, resolve, reject } of asked)
      askAlone(context, spec, signal).then(resolve, reject)
  }

  const askMany = async (asked: readonly Asked[]) => {
    if (asked.length === 1) return askEachAlone(asked)
    // All of them end with this worker.
    const [{ context, signal }] = asked as [Asked]
    try {
      const requests = asked.map(requestOf)
      const { answers } = await scheduler.selectDestinationsOfMany(context, { requests }, { signal })
      for (const [n, one] of asked.entries()) settle(one, answers[n])
    } catch (error) {
      askOtherwise(asked, error)
    }
  }
  const askOtherwise = (asked: readonly Asked[], error: unknown) => {
    if (isUnknown(error)) oneByOneUntilMs = performance.now() + ONE_BY_ONE_MS
    if (error instanceof UnserializableValue) askInParts(asked)
    // What one of them has or gets may be wrong; who has been answered already is answered alike.
    else if (isUnknown(error) || isRefusal(error)) askEachAlone(asked)
    else for (const { reject } of asked) reject(error)
  }
  /** Or it is what comes back that goes into no message; what does not for another reason than its length is of one of them. */
  const askInParts = (asked: readonly Asked[]) => {
    const parts = inPartsThatFit(asked, requestOf)
    if (parts.length === 1) return askEachAlone(asked)
    for (const some of parts) void askMany(some)
  }

  const askAll = () => {
    const all = waiting
    waiting = []
    if (performance.now() < oneByOneUntilMs) return askEachAlone(all)
    for (const some of inParts(all, MAX_TOGETHER)) void askMany(some)
  }

  return (context, spec, signal) => {
    if (spec.migration !== undefined || context.traceparent !== undefined) return askAlone(context, spec, signal)
    return new Promise((resolve, reject) => {
      if (waiting.push({ context, spec, signal, resolve, reject }) === 1) setImmediate(askAll)
    })
  }
}

function requestOf({ context, spec }: Asked) {
  return { context, request_spec: spec }
}

function settle({ resolve, reject }: Asked, answer: Answer | undefined): void {
  if (answer === undefined) reject(new InternalError('the scheduler has left out its answer to this request'))
  else if ('selection' in answer) resolve(answer.selection)
  else reject(decodeFailure(answer.failure))
}

function isUnknown(error: unknown): boolean {
  return error instanceof UnsupportedVersion || error instanceof NoSuchMethod
}

function isRefusal(error: unknown): boolean {
  return error instanceof InvalidArguments || error instanceof InternalError || error instanceof RemoteError
}
