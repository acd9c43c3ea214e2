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
  const problem = problemIn(value, '', MAX_DEPTH)
  if (problem !== undefined) throw unreadable(problem)
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

/** @throws UnserializableValue naming the key whose value JSON cannot carry, or a reader of ours would refuse */
export function stringifyJson(value: unknown): string {
  const problem = problemIn(value, '', MAX_DEPTH)
  if (problem !== undefined) throw unwritable(problem)
  return JSON.stringify(value) ?? 'null'
}

type Problem =
  | { readonly kind: 'number'; readonly key: string | number; readonly value: number | bigint }
  | { readonly kind: 'prototype' }
  | { readonly kind: 'depth' }

/** Looked for by walking, because a replacer or reviver makes JSON twice as slow. */
function problemIn(value: unknown, key: string | number, depth: number): Problem | undefined {
  if (typeof value === 'number') return isChanged(value) ? { kind: 'number', key, value } : undefined
  if (typeof value === 'bigint') return { kind: 'number', key, value }
  if (typeof value !== 'object' || value === null) return undefined
  if (depth === 0) return { kind: 'depth' }
  if (Array.isArray(value)) return problemInList(value, depth - 1)
  for (const name in value) {
    if (name === '__proto__') return { kind: 'prototype' }
    const problem = problemIn((value as Record<string, unknown>)[name], name, depth - 1)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Apart, for `for … in` makes a text of each index: three times as dear. */
function problemInList(list: readonly unknown[], depth: number): Problem | undefined {
  for (let index = 0; index < list.length; index++) {
    const problem = problemIn(list[index], index, depth)
    if (problem !== undefined) return problem
  }
  return undefined
}

/** Every double beyond 2^53 is a whole number, and which one was meant cannot be known. */
function isChanged(value: number): boolean {
  return !Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER
}

function unreadable(problem: Problem): InvalidMessage {
  switch (problem.kind) {
    case 'number': {
      const fix = 'send it as a string'
      const text = `a number near ${problem.value} is beyond 2^53 and would be changed in silence; ${fix}`
      return new InvalidMessage(text, { fix })
    }
    case 'prototype':
      return new InvalidMessage('a JSON object has the key __proto__, which no message of ours has')
    case 'depth':
      return new InvalidMessage(`JSON nested deeper than ${MAX_DEPTH}`)
    default:
      return problem satisfies never
  }
}

function unwritable(problem: Problem): UnserializableValue {
  switch (problem.kind) {
    case 'number': {
      const { value } = problem
      const field = String(problem.key)
      const facts = { field, value: String(value) }
      return new UnserializableValue(`${field || 'the value'} is ${value}, which JSON cannot carry unchanged`, facts)
    }
    case 'prototype':
      return new UnserializableValue('an object has the key __proto__, which no reader takes')
    case 'depth':
      return new UnserializableValue('the value has a cycle, or is nested too deep')
    default:
      return problem satisfies never
  }
}
