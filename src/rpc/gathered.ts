/** How long a write may wait for more, where that is worth it. */
export interface GatheringPatience {
  /** So many go at once. */
  readonly enough: number
  /** So long the first waits for them, in milliseconds. Nobody waits after a write that was of one item alone. */
  readonly waitMs: number
}

/**
 * A write that is shared: what comes while one runs goes together in the next (group commit), so that a hundred at a
 * time cost two writes, not a hundred. Each item's promise ends as its write does.
 */
export function gathered<T>(
  write: (items: readonly T[]) => Promise<void>,
  patience?: GatheringPatience,
): (item: T) => Promise<void> {
  let latest: Promise<void> = Promise.resolve()
  let lastCount = 0
  let next:
    | { readonly items: T[]; readonly written: Promise<void>; readonly isEnough: (() => void) | undefined }
    | undefined
  const begin = () => {
    const items: T[] = []
    const wait = patience && lastCount > 1 ? worthwhile(patience.waitMs) : undefined
    const run = () => {
      next = undefined
      lastCount = items.length
      return write(items)
    }
    const written = wait === undefined ? latest.then(run) : latest.then(() => wait.over).then(run)
    latest = written.catch(() => {})
    return { items, written, isEnough: wait?.end }
  }
  return (item) => {
    next ??= begin()
    next.items.push(item)
    if (next.items.length === patience?.enough) next.isEnough?.()
    return next.written
  }
}

/** Ends by itself after a while. */
function worthwhile(waitMs: number) {
  let end: () => void = () => {}
  const over = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, waitMs)
    end = () => {
      clearTimeout(timer)
      resolve()
    }
  })
  return { over, end }
}
