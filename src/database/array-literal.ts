/**
 * Arrays in the words of PostgreSQL (its manual, section "Array Input and Output Syntax"), for statements that run often: what
 * the driver makes of an array costs several times as much.
 */
export function textArray(texts: readonly (string | null)[]): string {
  return `{${texts.map(quoted).join()}}`
}

/** Of what has no letters that mean something. */
export function plainArray(values: readonly (number | boolean | string)[]): string {
  return `{${values.join()}}`
}

/** Each value as its JSON. */
export function jsonArray(values: readonly unknown[]): string {
  // JSON has no control characters in it, so of each text JSON escapes what PostgreSQL does, and in the same way.
  return `{${JSON.stringify(values.map((value) => JSON.stringify(value))).slice(1, -1)}}`
}

function quoted(text: string | null): string {
  if (text === null) return 'null'
  return `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, '\\$&') : text}"`
}
