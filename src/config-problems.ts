import { z } from 'zod'
import { SECRET_KEYS } from './config-schema.ts'

/** One line per wrong key: where, what is wrong, what to write instead. Values of secrets are not repeated. */
export function configurationProblems(schema: z.ZodObject, error: z.ZodError, values: unknown): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code !== 'unrecognized_keys')
      return [`${issue.path.join('.')}: ${issue.message}${given(issue.path, values)}`]
    const known = keysAt(schema, issue.path)
    return issue.keys.map((key) => `${[...issue.path, key].join('.')}: there is no such key${suggestion(key, known)}`)
  })
}

/** Never of what is a secret, or holds one: a URL written in place of its section is as secret as in its place. */
function given(path: readonly PropertyKey[], values: unknown): string {
  const isSecret = SECRET_KEYS.some((key) => isPrefix(path, key.split('.')) || isPrefix(key.split('.'), path))
  if (isSecret) return ''
  const value = path.reduce<unknown>((at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key], values)
  return shown(value)
}

/** What was given, for the end of a problem; a URL with credentials is not shown under whatever key it was put. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value)
  return text === undefined || /:\/\/.*@/.test(text) ? '' : ` (it is ${text})`
}

function isPrefix(prefix: readonly PropertyKey[], path: readonly PropertyKey[]): boolean {
  return prefix.every((part, index) => part === path[index])
}

function keysAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  const inner = unwrapped(schema)
  if (!(inner instanceof z.ZodObject)) {
    return inner instanceof z.ZodRecord && path.length > 0 ? keysAt(inner.valueType as z.ZodType, path.slice(1)) : []
  }
  const [head, ...rest] = path
  return head === undefined ? Object.keys(inner.shape) : keysAt(inner.shape[String(head)] as z.ZodType, rest)
}

/** What a key really takes, without its default or its being optional. */
export function unwrapped(schema: z.ZodType): z.ZodType {
  const isWrapper =
    schema instanceof z.ZodDefault ||
    schema instanceof z.ZodPrefault ||
    schema instanceof z.ZodOptional ||
    schema instanceof z.ZodReadonly
  return isWrapper ? unwrapped(schema.unwrap() as z.ZodType) : schema
}

function suggestion(key: string, known: readonly string[]): string {
  const [nearest] = known
    .map((name) => ({ name, distance: editDistance(key, name) }))
    .toSorted((a, b) => a.distance - b.distance)
  if (nearest !== undefined && nearest.distance <= Math.max(2, key.length / 3)) return `; did you mean ${nearest.name}?`
  return known.length > 0 ? `; it is one of ${known.join(', ')}` : '; remove it'
}

/** Levenshtein: how many letters to change, add or drop. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(substituted, (row[j] as number) + 1, (next[j - 1] as number) + 1))
    }
    row = next
  }
  return row[b.length] as number
}
