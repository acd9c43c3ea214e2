import { createHash } from 'node:crypto'

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
