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

/** Which page of a list is asked for: the one after this item, or the first. */
export interface PageAfter {
  readonly marker?: string
}

/**
 * All pages of a list, each asked for when the one before was taken, until one is empty.
 *
 * @param markerOf what names an item as `marker`
 * @throws what `ask` does
 */
export async function* pages<T>(
  ask: (after: PageAfter) => Promise<readonly T[]>,
  markerOf: (last: T) => string,
): AsyncGenerator<readonly T[]> {
  for (let after: PageAfter = {}; ; ) {
    const page = await ask(after)
    if (page.length === 0) return
    yield page
    after = { marker: markerOf(page.at(-1) as T) }
  }
}
