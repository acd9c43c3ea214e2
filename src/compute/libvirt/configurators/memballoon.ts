import type { Configurator } from './configurator.ts'

/** It tells how the guest uses its memory, at Nova's `mem_stats_period_seconds`; without a period there is none. */
export const memballoon: Configurator = (domain, { options: { memStatsPeriodSeconds: statsPeriodSeconds } }) => ({
  ...domain,
  memballoon: statsPeriodSeconds > 0 ? { statsPeriodSeconds, iommu: false } : undefined,
})
