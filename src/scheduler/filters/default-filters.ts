import { aggregateImagePropertiesIsolation } from './aggregate-image-properties-isolation.ts'
import { aggregateInstanceExtraSpecs } from './aggregate-instance-extra-specs.ts'
import { aggregateMultiTenancyIsolation } from './aggregate-multi-tenancy-isolation.ts'
import { availabilityZone } from './availability-zone.ts'
import { computeFilter } from './compute.ts'
import { differentHost } from './different-host.ts'
import { diskBus } from './disk-bus.ts'
import { forcedHosts } from './forced-hosts.ts'
import type { HostFilter } from './host-filter.ts'
import { ignoredHosts } from './ignored-hosts.ts'
import { imageProperties } from './image-properties.ts'
import { ioOps } from './io-ops.ts'
import { machineType } from './machine-type.ts'
import { memEncryptionMode } from './mem-encryption-mode.ts'
import { memEncryptionModel } from './mem-encryption-model.ts'
import { memEncryptionSlots } from './mem-encryption-slots.ts'
import { numInstances } from './num-instances.ts'
import { pinnedMemory } from './pinned-memory.ts'
import { resources } from './resources.ts'
import { sameHost } from './same-host.ts'
import { serverGroupAffinity } from './server-group-affinity.ts'
import { serverGroupAntiAffinity } from './server-group-anti-affinity.ts'
import { traits } from './traits.ts'
import { uefi } from './uefi.ts'

/** Without a number: no limit but those of aggregates. */
export interface FilterLimits {
  readonly maxIoOpsPerHost?: number | undefined
  readonly maxInstancesPerHost?: number | undefined
}

/**
 * In the order in which a host meets them; the first that rejects it is the reason that is told. So who may not be used
 * comes before what can never fit, and that before what is full now.
 */
export function defaultFilters({ maxIoOpsPerHost, maxInstancesPerHost }: FilterLimits = {}): readonly HostFilter[] {
  return [
    computeFilter,
    forcedHosts,
    ignoredHosts,
    availabilityZone,
    aggregateMultiTenancyIsolation,
    aggregateImagePropertiesIsolation,
    aggregateInstanceExtraSpecs,
    imageProperties,
    memEncryptionModel,
    traits,
    machineType,
    uefi,
    diskBus,
    sameHost,
    differentHost,
    serverGroupAffinity,
    serverGroupAntiAffinity,
    ioOps(maxIoOpsPerHost),
    numInstances(maxInstancesPerHost),
    memEncryptionMode,
    memEncryptionSlots,
    pinnedMemory,
    resources,
  ]
}
