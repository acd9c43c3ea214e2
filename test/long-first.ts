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

/**
 * Files that have a process to themselves before all others: a shared process is ended where one of them comes next. Of both kinds
 * what takes longest first, the soak before all: the other files run beside it, and it is not what the run ends with.
 */
export default class LongFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId, project }: TestSpecification) => {
      const place = LONG.findIndex((pattern) => pattern.test(moduleId))
      const length = place < 0 ? LONG.length : place
      return project.config.isolate ? length - LONG.length - 1 : length
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
