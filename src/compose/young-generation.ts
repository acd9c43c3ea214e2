import { PerformanceObserver } from 'node:perf_hooks'
import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8'

/**
 * Of both its halves. V8 doubles it whenever as much has survived as it holds, up to 32 MiB, and gives it back at rest only: more
 * than all that a worker keeps of 50 guests. Bounded so it takes its work 5 to 10 % more of a processor.
 */
const MOST_BYTES = 8 * 1024 ** 2

/**
 * One thread is enough for a few MiB of new objects: to wake others for each collection takes more of a processor than they spare
 * whoever waits.
 */
export function collectByOneThread(): void {
  setFlagsFromString('--no-parallel-scavenge')
}

/** Keeps the place for new objects of this process small, for a worker of which there is one on each host, beside its guests. */
export function holdYoungGeneration(): void {
  let factor = 0
  const hold = () => {
    const space = getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space')
    const wanted = space === undefined || space.space_size < MOST_BYTES ? 2 : 1
    // Read at each collection, unlike the size itself, which is only heard at the start of a process.
    if (wanted !== factor) setFlagsFromString(`--semi-space-growth-factor=${wanted}`)
    factor = wanted
  }
  hold()
  new PerformanceObserver(hold).observe({ entryTypes: ['gc'] })
}
