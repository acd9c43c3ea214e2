import type { HostWeigher } from './host-weigher.ts'

/** Of builds that failed in a row: with Nova's multiplier a host with one comes after every host without. */
export function buildFailureWeigher(multiplier: number): HostWeigher {
  return { name: 'BuildFailure', multiplier: -multiplier, weigh: ({ failedBuilds }) => failedBuilds }
}
