import { computeFilter } from './compute.ts'
import { diskBus } from './disk-bus.ts'
import { forcedHosts } from './forced-hosts.ts'
import type { HostFilter } from './host-filter.ts'
import { ignoredHosts } from './ignored-hosts.ts'
import { machineType } from './machine-type.ts'
import { memEncryptionModel } from './mem-encryption-model.ts'
import { memEncryptionSlots } from './mem-encryption-slots.ts'
import { pinnedMemory } from './pinned-memory.ts'
import { resources } from './resources.ts'
import { uefi } from './uefi.ts'

/**
 * In the order in which a host meets them; the first that rejects it is the reason that is told. So who may not be used
 * comes before what can never fit, and that before what is full now.
 */
export const defaultFilters: readonly HostFilter[] = [
  computeFilter,
  forcedHosts,
  ignoredHosts,
  memEncryptionModel,
  machineType,
  uefi,
  diskBus,
  memEncryptionSlots,
  pinnedMemory,
  resources,
]
