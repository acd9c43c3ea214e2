import type { HostFilter } from './host-filter.ts'

/** Drops hosts whose worker is down, or that an operator took out of service. */
export const computeFilter: HostFilter = {
  name: 'ComputeFilter',
  fix: 'start the compute worker on the host, or enable the host',
  reject: ({ up, secondsSinceSeen, reportIntervalSeconds, disabled, disabledReason }) => {
    if (disabled) return `disabled: ${disabledReason ?? 'no reason was given'}`
    if (up) return undefined
    return `down: last report ${Math.round(secondsSinceSeen)} s ago, expected every ${reportIntervalSeconds} s`
  },
}
