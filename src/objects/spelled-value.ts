import { InvalidProperty } from '../errors.ts'

const TRUE = new Set(['1', 't', 'true', 'on', 'y', 'yes'])
const FALSE = new Set(['0', 'f', 'false', 'off', 'n', 'no'])

/**
 * Reads a truth value as operators spell it: oslo.utils' words, any case, surrounding blanks ignored.
 * Unlike oslo.utils, a word that is neither (`tru`) is refused: reading it as false would start a guest in clear.
 *
 * @param owner who wrote it, for the message: `flavor m1.sev`
 * @throws InvalidProperty naming owner, property, value and the fix
 */
export function spelledBoolean(owner: string, property: string, value: unknown): boolean | undefined {
  if (value === undefined || value === null) return undefined
  const word = String(value).trim().toLowerCase()
  if (TRUE.has(word)) return true
  if (FALSE.has(word)) return false
  throw invalidProperty(owner, property, value, 'write true or false')
}

/** @throws InvalidProperty when the value is none of `allowed` */
export function spelledChoice<T extends string>(
  owner: string,
  property: string,
  value: unknown,
  allowed: readonly T[],
): T | undefined {
  if (value === undefined || value === null) return undefined
  const choice = allowed.find((word) => word === value)
  if (choice !== undefined) return choice
  throw invalidProperty(owner, property, value, `write one of ${allowed.join(', ')}`)
}

function invalidProperty(owner: string, property: string, value: unknown, fix: string): InvalidProperty {
  return new InvalidProperty(`${owner} has ${property}=${JSON.stringify(value)}, which means nothing; ${fix}`, {
    owner,
    property,
    value: typeof value === 'string' ? value.slice(0, 64) : value,
    fix,
  })
}
