import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Files whose tests take long for their size: they wait for leases and restarts, or go through many histories. */
const LONG = [
  /\/soak\.test\.ts$/,
  /\/distributed\//,
  /\/libvirt\/(?:driver-contract|silent-libvirtd|real-guests|clean-stop)\.test\.ts$/,
  /\/(?:storm|simulation|killed-worker)\.test\.ts$/,
  /\/(?:cli|interop|libvirt)\//,
  /-properties\.test\.ts$/,
  /\/(?:self-check|publish-\w+)\.test\.ts$|\/compose\//,
]

/** Begins with what takes longest, the soak before all: the other files run beside it, and it is not what the run ends with. */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const place = LONG.findIndex((pattern) => pattern.test(moduleId))
      return place < 0 ? LONG.length : place
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
