import { toSevbusError } from '../errors.ts'
import { computeException } from '../notifications/compute-exception.ts'
import type { NotificationNames } from '../notifications/notification.ts'
import type { Endpoint, RequestInfo } from '../rpc/contract.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { ComputePorts } from './compute-ports.ts'
import { queued } from './journal/journal.ts'
import { ComputeApi } from './rpc-api.ts'

/** @param failed the method, by its name on the wire */
export type TellException = (thrown: unknown, failed: string, context: RequestContext) => Promise<void>

type Teller = Pick<ComputePorts, 'host' | 'journal' | 'outbox' | 'logger'>

/**
 * Tells what fails here by `compute.exception`, which waits in the journal until the broker has it. Not what an outage
 * fails by, or the end of this worker: that is tried again, for as long as it lasts. Never throws.
 */
export function exceptionTeller({ host, journal, outbox, logger }: Teller, names: NotificationNames): TellException {
  return async (thrown, failed, context) => {
    const error = toSevbusError(thrown)
    if (error.isOutage) return
    const message = computeException(names, { host, context, error, function: failed, at: new Date() })
    try {
      await journal.append([queued([message])])
      outbox.announce()
    } catch (err) {
      logger.warn({ err, code: error.code, request_id: context.request_id }, 'a failure is told to nobody')
    }
  }
}

/** An endpoint that tells of each of its methods that throws; not of those that nobody waits for any more. */
export function tellingEndpoint(
  endpoint: Endpoint<typeof ComputeApi>,
  tell: TellException,
): Endpoint<typeof ComputeApi> {
  type Call = (args: unknown, info: RequestInfo) => Promise<unknown>
  const methods = Object.entries(ComputeApi.methods).map(([name, { wire }]) => {
    const call: Call = async (args, info) => {
      try {
        return await (endpoint as unknown as Record<string, Call>)[name]?.(args, info)
      } catch (error) {
        if (!info.signal.aborted) await tell(error, wire, info.context)
        throw error
      }
    }
    return [name, call]
  })
  return Object.fromEntries(methods)
}
