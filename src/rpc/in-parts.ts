import { MAX_BODY_BYTES } from './envelope.ts'

/** So much a message may have beside what it is about: its method, and the context of the first once more. */
const HEAD_BYTES = 64 * 1024

/** All of them, in their order, so many at a time: as many as one message may have. */
export function inParts<T>(all: readonly T[], most: number): readonly (readonly T[])[] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, n) => all.slice(n * most, (n + 1) * most))
}

/**
 * All of them, in their order, as many at a time as one message has bytes for. It writes each to know how long that is: for those of
 * whom a message together was too large. One that fits into none is by itself.
 *
 * @param contentOf what the message has of each
 */
export function inPartsThatFit<T>(all: readonly T[], contentOf: (one: T) => object): readonly (readonly T[])[] {
  const parts: T[][] = []
  let bytesLeft = 0
  for (const one of all) {
    const bytes = envelopedBytes(contentOf(one))
    if (bytes > bytesLeft) {
      parts.push([])
      bytesLeft = MAX_BODY_BYTES - HEAD_BYTES
    }
    parts.at(-1)?.push(one)
    bytesLeft -= bytes
  }
  return parts
}

/** The envelope has JSON in JSON: each quote of it is escaped. */
function envelopedBytes(content: object): number {
  return Buffer.byteLength(JSON.stringify(JSON.stringify(content)))
}
