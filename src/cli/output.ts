import pc from 'picocolors'
import { SevbusError, toSevbusError } from '../errors.ts'

/** Where commands write: results to standard output, everything else to standard error. */
export interface Output {
  readonly json: boolean
  readonly debug: boolean
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** Progress and remarks: never mixed into a result that a program reads. */
export function note(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** Says what happened, to what, and what to do; the stack only when asked for. */
export function printError(thrown: unknown, { json, debug }: Output): void {
  const error = toSevbusError(thrown)
  if (json) {
    printJson({ error: { code: error.code, message: error.message, details: error.details } })
  } else {
    note(`${pc.red(`error ${error.code}:`)} ${error.message}`)
    const { fix } = error.details
    if (typeof fix === 'string' && !error.message.includes(fix)) note(`${pc.bold('fix:')} ${fix}`)
  }
  if (debug) note(pc.dim(stackOf(thrown)))
  else if (!(thrown instanceof SevbusError)) note('This is a defect of sevbus; --debug shows where.')
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const own = thrown.stack ?? thrown.message
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stackOf(thrown.cause)}`
}
