import { z } from 'zod'
import { ERRORS_BY_CODE, InternalError, type SevbusError } from '../errors.ts'
import { cleanText } from './text.ts'

const MAX_MESSAGE = 4000
/** Details are stored with the instance and travel with it; larger ones are left out. */
const MAX_DETAILS_BYTES = 64 * 1024

/** Why an instance is in ERROR, or a try failed: kept where a user can read it. */
export const Fault = z.object({
  code: z.string().max(64),
  message: z.string().max(MAX_MESSAGE),
  details: z.record(z.string(), z.unknown()).default({}),
  created_at: z.iso.datetime(),
})
export type Fault = z.infer<typeof Fault>

/** A fault that every database takes, whatever text the failing program left behind. @param at ISO 8601 in UTC */
export function faultOf(error: SevbusError, at: string): Fault {
  const details = JSON.stringify(error.details, (_key, value: unknown) =>
    typeof value === 'string' ? cleanText(value, MAX_MESSAGE) : value,
  )
  return {
    code: error.code,
    message: cleanText(error.message, MAX_MESSAGE),
    details: details.length <= MAX_DETAILS_BYTES ? (JSON.parse(details) as Fault['details']) : {},
    created_at: at,
  }
}

/** The typed error that it was, for those who are told of it; without its details, which the fault has. */
export function errorOf({ code, message }: Pick<Fault, 'code' | 'message'>): SevbusError {
  return new (ERRORS_BY_CODE.get(code) ?? InternalError)(message)
}
