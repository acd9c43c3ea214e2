/** Object id of `bigint` in PostgreSQL's catalogue: the type of counts and sums. */
export const INT8_OID = 20

/** Both drivers would give another type for a large value, or a string always; here it is a number or an error. */
export function parseInt8(text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value)) return value
  throw new RangeError(`the database gave the bigint ${text}, which a number cannot hold; select it as text`)
}
