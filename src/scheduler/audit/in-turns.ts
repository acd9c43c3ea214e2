import { setImmediate as nextTurn } from 'node:timers/promises'

/** So long at a time the event loop is held, in milliseconds: requests wait no longer for what nobody waits for. */
const TURN_MS = 5

/** Runs work that stops after each of its pieces, a few milliseconds of it in each turn of the event loop. */
export async function inTurns<T>(work: Generator<undefined, T>): Promise<T> {
  for (let until = performance.now() + TURN_MS; ; ) {
    const { done, value } = work.next()
    if (done) return value
    if (performance.now() < until) continue
    await nextTurn()
    until = performance.now() + TURN_MS
  }
}
