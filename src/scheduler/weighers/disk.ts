import { DISK_GB } from '../../objects/resources.ts'
import { free } from '../host-state.ts'
import type { HostWeigher } from './host-weigher.ts'

/** Prefers hosts with more free disk: spreads. */
export function diskWeigher(multiplier: number): HostWeigher {
  return { name: 'Disk', multiplier, weigh: ({ root }) => free(root.inventories[DISK_GB]) }
}
