import { z } from 'zod'

/** Compiling a contract takes some milliseconds, which who asks once should not pay: a command, say. */
const WORTH_COMPILING = 16

const asked = new WeakMap<z.ZodType, { uses: number; schema: z.ZodType }>()

/**
 * The schema to check with, for those that check every message with it: the same at first, and when it has been asked for often
 * its compiled form, which takes and refuses the same, with the same words, in a fraction of the time (zod's `compile`).
 */
export function hot<Schema extends z.ZodType>(schema: Schema): Schema {
  let known = asked.get(schema)
  if (known === undefined) {
    known = { uses: 0, schema }
    asked.set(schema, known)
  }
  known.uses += 1
  if (known.uses === WORTH_COMPILING) known.schema = z.compile(schema)
  return known.schema as Schema
}
