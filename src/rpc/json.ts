import { InvalidMessage, UnserializableValue } from '../errors.ts'

/** Deeper nesting than any contract has; checked before schemas walk down by recursion. */
const MAX_DEPTH = 100

/**
 * JSON.parse that never changes a value in silence, and gives nothing that is dangerous to copy or to walk: numbers
 * beyond 2^53 (Python writes integers of any size), `__proto__` keys and bottomless nesting are refused.
 *
 * @throws InvalidMessage; it never quotes the text, which may hold secrets
 */
export function parseJson(text: string): unknown {
  const value = parse(text)
  check(value, MAX_DEPTH)
  return value
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    const python = /\b(?:NaN|Infinity)\b/.test(text) ? " (Python's NaN and Infinity are none, either)" : ''
    throw new InvalidMessage(`not JSON${python}`)
  }
}

function check(value: unknown, depth: number): void {
  if (typeof value === 'number' && isChanged(value)) {
    const fix = 'send it as a string'
    throw new InvalidMessage(`a number near ${value} is beyond 2^53 and would be changed in silence; ${fix}`, { fix })
  }
  if (typeof value !== 'object' || value === null) return
  if (depth === 0) throw new InvalidMessage(`JSON nested deeper than ${MAX_DEPTH}`)
  if (Object.hasOwn(value, '__proto__')) {
    throw new InvalidMessage('a JSON object has the key __proto__, which no message of ours has')
  }
  for (const child of Object.values(value)) check(child, depth - 1)
}

/** @throws UnserializableValue naming the key whose value JSON cannot carry */
export function stringifyJson(value: unknown): string {
  try {
    return JSON.stringify(value, refuseLoss) ?? 'null'
  } catch (error) {
    if (error instanceof UnserializableValue) throw error
    throw new UnserializableValue('the value has a cycle, or is nested too deep', {}, { cause: error })
  }
}

function refuseLoss(key: string, field: unknown): unknown {
  if (typeof field === 'bigint' || (typeof field === 'number' && isChanged(field))) {
    throw new UnserializableValue(`${key || 'the value'} is ${field}, which JSON cannot carry unchanged`, {
      field: key,
      value: String(field),
    })
  }
  return field
}

/** Every double beyond 2^53 is a whole number, and which one was meant cannot be known. */
function isChanged(value: number): boolean {
  return !Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER
}
