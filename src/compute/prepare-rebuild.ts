import { asBuildError } from './boot-guest.ts'
import { refuseOtherClaim } from './claim-check.ts'
import type { ComputePorts } from './compute-ports.ts'
import { diskContents } from './disks/disk-contents.ts'
import type { Build } from './journal/state.ts'
import { buildDomain } from './libvirt/build-domain.ts'
import { guestSpec } from './libvirt/guest-spec.ts'
import { limitSlots } from './libvirt/slot-limits.ts'

/**
 * Could it be built here? All that can be known while the earlier guest stands: its claim is what it needs, this host has what
 * it needs, its image is here, is what it says, and fits. Nothing of the guest that is there is touched.
 *
 * @returns holds the image for the build
 * @throws what a build throws before it starts a guest, or the signal's reason
 */
export async function prepareRebuild(
  { instance, allocations, user_data }: Pick<Build, 'instance' | 'allocations' | 'user_data'>,
  { host, driver, domainOptions, slotLimits }: Pick<ComputePorts, 'host' | 'driver' | 'domainOptions' | 'slotLimits'>,
  signal: AbortSignal,
): Promise<Disposable> {
  try {
    refuseOtherClaim(instance, allocations, host)
    const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
    const domain = buildDomain(guestSpec(instance, domainOptions), capabilities)
    return await driver.holdImage(domain, diskContents(instance, domain, user_data), signal)
  } catch (error) {
    signal.throwIfAborted()
    throw asBuildError(error, instance)
  }
}
