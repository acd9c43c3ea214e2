import type { HostFilter } from './host-filter.ts'

/** Drops hosts whose worker is down, whose hypervisor does not answer, or that an operator took out of service. */
export const computeFilter: HostFilter = {
  name: 'ComputeFilter',
  fix: 'start the compute worker on the host, or libvirt where that does not answer, or give the host back: sevbus host set HOST --enable --no-forced-down',
  reject: ({ up, secondsSinceSeen, reportIntervalSeconds, forcedDown, fenced, disabled, disabledReason, ...host }) => {
    if (fenced) return 'fenced by an operator'
    if (forcedDown) return 'forced down by an operator'
    if (disabled) return `disabled: ${disabledReason ?? 'no reason was given'}`
    if (!up) return `down: last report ${Math.round(secondsSinceSeen)} s ago, expected every ${reportIntervalSeconds} s`
    const { hypervisorSilence: silence } = host
    return silence && `its hypervisor does not answer since ${silence.since}: ${silence.reason}`
  },
}
