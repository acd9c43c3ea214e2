/** Half of what a message may have: JSON is encoded twice on the wire. */
export const MAX_PAGE_BYTES = 2 * 1024 * 1024

/** As many as one reply may carry, and at least one: whoever asks goes on after the last, until a page is empty. */
export function pageOf<T>(items: readonly T[]): readonly T[] {
  let bytes = 0
  const end = items.findIndex((item) => {
    bytes += Buffer.byteLength(JSON.stringify(item))
    return bytes > MAX_PAGE_BYTES
  })
  return end === -1 ? items : items.slice(0, Math.max(1, end))
}
