import type { Instance } from '../objects/instance.ts'
import type { Allocation } from '../objects/request-spec.ts'
import { refuseOtherClaim } from './claim-check.ts'
import type { ComputePorts } from './compute-ports.ts'
import { buildDomain } from './libvirt/build-domain.ts'
import { guestSpec } from './libvirt/guest-spec.ts'
import { limitSlots } from './libvirt/slot-limits.ts'

/**
 * Would it be built here, as it is to be? All that a build refuses before it changes anything is refused here.
 *
 * @returns where this host looks for disks
 * @throws ClaimMismatch, HostCapabilityMissing, InvalidProperty, and others of flavor and image
 */
export async function prepareArrival(
  instance: Instance,
  allocations: readonly Allocation[],
  { host, driver, domainOptions, slotLimits }: ComputePorts,
  signal: AbortSignal,
): Promise<string> {
  refuseOtherClaim(instance, allocations, host)
  const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
  buildDomain(guestSpec(instance, domainOptions), capabilities)
  return driver.storage(signal)
}
