import type { Logger } from 'pino'
import { SevbusError } from '../errors.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import { encodeFailure } from '../rpc/failure.ts'
import type { RequestContext } from '../rpc/request-context.ts'

export interface RequestOfMany {
  /** Who asks for this one. */
  readonly context: RequestContext
  readonly request_spec: RequestSpec
}

export type AnswerOfMany = { selection: Selection } | { failure: string }

/** Requests that came in one message, all at once, so that their claims go together. None fails for another's sake. */
export async function selectMany(
  requests: readonly RequestOfMany[],
  info: RequestInfo,
  select: (request: Pick<RequestOfMany, 'request_spec'>, info: RequestInfo) => Promise<{ selection: Selection }>,
  logger: Logger,
): Promise<{ answers: AnswerOfMany[] }> {
  const answer = async ({ context, request_spec }: RequestOfMany): Promise<AnswerOfMany> => {
    try {
      return await select({ request_spec }, { ...info, context })
    } catch (error) {
      const facts = { instance_uuid: request_spec.instance_uuid, request_id: context.request_id }
      if (error instanceof SevbusError) logger.info({ ...facts, code: error.code, reason: error.message }, 'refused')
      else logger.error({ ...facts, err: error }, 'a host could not be chosen')
      return { failure: encodeFailure(error) }
    }
  }
  return { answers: await Promise.all(requests.map(answer)) }
}
