const names = new Map<string, string>()

/**
 * A statement that a connection parses and plans once, and keeps (PostgreSQL's prepared statements), for those that run often. Only
 * for what calls functions and reads no table itself: a plan made while a table is empty would be kept when it is full.
 *
 * @returns the same text
 */
export function kept(sql: string): string {
  names.set(sql, `kept_${names.size + 1}`)
  return sql
}

/** What a connection keeps it as; undefined: not at all. */
export function keptAs(sql: string): string | undefined {
  return names.get(sql)
}
