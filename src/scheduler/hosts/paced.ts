import { setTimeout as sleep } from 'node:timers/promises'

/**
 * Work that costs little more for many than for one: who comes alone is served at once, and those that come within
 * `paceMs` of that wait for its end, and share one run.
 */
export function paced<T>(paceMs: number, work: (items: readonly T[]) => Promise<void>): (item: T) => Promise<void> {
  let ranAt = Number.NEGATIVE_INFINITY
  let next: { readonly items: T[]; readonly done: Promise<void> } | undefined
  const run = (items: readonly T[]) => {
    ranAt = performance.now()
    return work(items)
  }
  const begin = (waitMs: number) => {
    const items: T[] = []
    const done = sleep(waitMs).then(() => {
      next = undefined
      return run(items)
    })
    return { items, done }
  }
  return (item) => {
    const waitMs = ranAt + paceMs - performance.now()
    if (next === undefined && waitMs <= 0) return run([item])
    next ??= begin(waitMs)
    next.items.push(item)
    return next.done
  }
}
