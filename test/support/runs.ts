/** How many times as many cases a property test tries when it is asked to by hand. */
const FACTOR = Number(process.env.SEVBUS_TEST_RUNS ?? 1)
if (!(FACTOR > 0)) throw new Error(`SEVBUS_TEST_RUNS is "${process.env.SEVBUS_TEST_RUNS}"; write a number, e.g. 10`)

/** @returns so many cases, which are chosen anew each time; `SEVBUS_TEST_RUNS=10 npx vitest run FILE` tries ten times as many */
export function runs(count: number): number {
  return Math.ceil(count * FACTOR)
}
