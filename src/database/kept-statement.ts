import { createHash } from 'node:crypto'
import { sqlState } from './sql-state.ts'

const names = new Map<string, string>()

/**
 * A statement that a connection parses and plans once, and keeps (PostgreSQL's prepared statements), for those that run often. Only
 * for what calls functions and reads no table itself: a plan made while a table is empty would be kept when it is full.
 *
 * Its name is made of its text: what pools connections, and gives one to two of us, must never run one statement for another.
 *
 * @returns the same text
 */
export function kept(sql: string): string {
  names.set(sql, `kept_${createHash('sha256').update(sql).digest('hex').slice(0, 16)}`)
  return sql
}

/** What a connection keeps it as; undefined: not at all. */
export function keptAs(sql: string): string | undefined {
  return names.get(sql)
}

/**
 * Has a session not what it was to keep, so that nothing of the statement was done? It is not there (26000) or is there already
 * (42P05) where a pooler gives each transaction another session; and a function of a newer release may return other columns,
 * which only the C function that found it tells from other features that PostgreSQL does not have (0A000).
 */
export function isNotAsKept(error: unknown): boolean {
  const state = sqlState(error)
  if (state === '0A000') return (error as { readonly routine?: string }).routine === 'RevalidateCachedQuery'
  return state === '26000' || state === '42P05'
}
