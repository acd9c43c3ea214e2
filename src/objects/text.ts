import { z } from 'zod'

/** Control characters, and halves of characters (lone surrogates). */
const UNPRINTABLE = /[\p{Cc}\p{Cs}]/u
const UNSTORABLE = /\p{Cs}|(?![\t\n])\p{Cc}/gu

/**
 * Text that a database stores, XML carries and a terminal shows: PostgreSQL takes no NUL and no half of a character, and
 * an escape sequence in a name would rule the terminal of who lists it.
 */
export function text(max: number) {
  return z
    .string()
    .max(max)
    .refine((value) => !UNPRINTABLE.test(value), 'must have no control characters and no halves of characters')
}

/** The same for text that comes from a failing program: cleaned and cut instead of refused. */
export function cleanText(value: string, max: number): string {
  return value.slice(0, max).replaceAll(UNSTORABLE, '\ufffd')
}
