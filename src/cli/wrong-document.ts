import type { z } from 'zod'
import { cleanText } from '../objects/text.ts'

const SHOWN_PROBLEMS = 5
const SHOWN_VALUE = 60

/** What is wrong with a document that somebody has written: each field with what stands there. */
export function describeProblems({ issues }: z.ZodError, document: unknown): string {
  const shown = issues.slice(0, SHOWN_PROBLEMS).map((issue) => {
    const field = issue.path.map(String)
    // What is not known has its name in the message, and no value that could be right.
    if (issue.code === 'unrecognized_keys') return [...field, issue.message].join(': ')
    return `${field.join('.') || 'it'} ${valueText(valueAt(document, field))}: ${issue.message}`.slice(0, 300)
  })
  const more = issues.length - shown.length
  return shown.join('; ') + (more > 0 ? `; and ${more} more` : '')
}

function valueAt(document: unknown, path: readonly string[]): unknown {
  let value = document
  for (const name of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined
    value = (value as Readonly<Record<string, unknown>>)[name]
  }
  return value
}

function valueText(value: unknown): string {
  if (value === undefined) return 'is missing'
  const text = cleanText(JSON.stringify(value), SHOWN_VALUE + 1)
  return `is ${text.length > SHOWN_VALUE ? `${text.slice(0, SHOWN_VALUE)}…` : text}`
}
