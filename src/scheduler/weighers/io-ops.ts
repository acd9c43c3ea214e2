import type { HostWeigher } from './host-weigher.ts'

/** Of builds under way; with a negative multiplier, as in Nova, it prefers hosts that are not busy. */
export function ioOpsWeigher(multiplier: number): HostWeigher {
  return { name: 'IoOps', multiplier, weigh: ({ ioOps = 0 }) => ioOps }
}
