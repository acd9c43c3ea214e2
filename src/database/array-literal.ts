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

function quoted(text: string | null): string {
  if (text === null) return 'null'
  return `"${/["\\]/.test(text) ? text.replaceAll(/["\\]/g, '\\$&') : text}"`
}

/**
 * A parameter of type `text[]` that may be long: to PostgreSQL it goes in its binary form, in which nothing is escaped (array_recv in
 * its sources: dimensions, whether there are nulls, type, length and lower bound, then each element behind its length).
 */
export class Texts {
  readonly #texts: readonly string[]

  constructor(texts: readonly string[]) {
    this.#texts = texts
  }

  /** What its engine's driver asks a parameter for that it does not know. */
  toPostgres(): Buffer {
    const sizes = this.#texts.map((text) => Buffer.byteLength(text))
    const binary = Buffer.allocUnsafe(ARRAY_HEADER_BYTES + sizes.reduce((sum, bytes) => sum + 4 + bytes, 0))
    for (const [n, word] of [1, 0, TEXT_OID, sizes.length, 1].entries()) binary.writeInt32BE(word, 4 * n)
    let at = ARRAY_HEADER_BYTES
    for (const [n, bytes] of sizes.entries()) {
      binary.writeInt32BE(bytes, at)
      binary.write(this.#texts[n] as string, at + 4)
      at += 4 + bytes
    }
    return binary
  }

  /** For an engine that takes parameters as text alone. */
  toString(): string {
    return textArray(this.#texts)
  }
}

const ARRAY_HEADER_BYTES = 20
/** `text` in pg_type. */
const TEXT_OID = 25
