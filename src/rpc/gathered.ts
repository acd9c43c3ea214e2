/**
 * A write that is shared: what comes while one runs goes together in the next (group commit), so that a hundred at a
 * time cost two writes, not a hundred. Each item's promise ends as its write does.
 */
export function gathered<T>(write: (items: readonly T[]) => Promise<void>): (item: T) => Promise<void> {
  let latest: Promise<void> = Promise.resolve()
  let next: { readonly items: T[]; readonly written: Promise<void> } | undefined
  const begin = () => {
    const items: T[] = []
    const written = latest.then(() => {
      next = undefined
      return write(items)
    })
    latest = written.catch(() => {})
    return { items, written }
  }
  return (item) => {
    next ??= begin()
    next.items.push(item)
    return next.written
  }
}
