import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { InvalidArguments } from '../errors.ts'
import { HostName } from '../objects/host-report.ts'

/** Of a wrong word, in the message: all of it is in the details. */
const SHOWN = 64

/**
 * A word of the command line by the contract's own schema, before anybody is asked.
 *
 * @param field as the help calls it: `<name>`, `--image-id`
 * @throws InvalidArguments naming it, its value and what to write
 */
export function checkedWord(schema: z.ZodType<string>, field: string, value: string, fix: string): string {
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const shown = value.length > SHOWN ? `${value.slice(0, SHOWN)}…` : value
  throw new InvalidArguments(`${field} is ${JSON.stringify(shown)}; ${fix}`, { field, value, fix })
}

/** How something is called that is made: as the option says, else by a new uuid. @throws InvalidArguments */
export function uuidWord(field: string, value: string | undefined): string {
  if (value === undefined) return randomUUID()
  return checkedWord(z.guid(), field, value, 'write a uuid, or leave it out: then a new one is made')
}

/** @throws InvalidArguments for what no host can be called */
export function hostWord(field: string, value: string): string {
  const fix = 'write the name of a host as sevbus hosts shows it: letters, digits, dot, dash and underscore'
  return checkedWord(HostName, field, value, fix)
}
