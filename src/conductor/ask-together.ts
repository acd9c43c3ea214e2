import type { z } from 'zod'
import { InternalError, InvalidArguments, NoSuchMethod, RemoteError, UnsupportedVersion } from '../errors.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import type { ClientOf } from '../rpc/contract.ts'
import { decodeFailure } from '../rpc/failure.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { SchedulerApi } from '../scheduler/rpc-api.ts'

/** Requests in one message, at most. Each may have 256 KB of flavor and image. */
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
    // All of them end with this worker.
    const [{ context, signal }] = asked as [Asked]
    const requests = asked.map((one) => ({ context: one.context, request_spec: one.spec }))
    try {
      const { answers } = await scheduler.selectDestinationsOfMany(context, { requests }, { signal })
      for (const [n, one] of asked.entries()) settle(one, answers[n])
    } catch (error) {
      if (isUnknown(error)) oneByOneUntilMs = performance.now() + ONE_BY_ONE_MS
      // What one of them has or gets may be wrong; who has been answered already is answered alike.
      if (isUnknown(error) || isRefusal(error)) return askEachAlone(asked)
      for (const { reject } of asked) reject(error)
    }
  }

  const askAll = () => {
    const all = waiting
    waiting = []
    if (performance.now() < oneByOneUntilMs) return askEachAlone(all)
    for (let from = 0; from < all.length; from += MAX_TOGETHER) {
      const some = all.slice(from, from + MAX_TOGETHER)
      if (some.length === 1) askEachAlone(some)
      else void askMany(some)
    }
  }

  return (context, spec, signal) => {
    if (spec.migration !== undefined || context.traceparent !== undefined) return askAlone(context, spec, signal)
    return new Promise((resolve, reject) => {
      if (waiting.push({ context, spec, signal, resolve, reject }) === 1) setImmediate(askAll)
    })
  }
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
