import type { Instance } from '../../objects/instance.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { proveOrPowerOff } from '../prove-encryption.ts'

/**
 * Starts a guest that is off, as its instance is to run: defined anew from values, so that whatever was done to its
 * document, or to the host, meanwhile, it runs encrypted as it did or not at all. Running already, it is only proven.
 *
 * @throws HostCapabilityMissing when the host has lost what the guest needs, SpawnFailed, EncryptionSlotsExhausted,
 *   EncryptionNotEffective
 */
export async function powerOn(instance: Instance, ports: ComputePorts, signal: AbortSignal): Promise<void> {
  const { driver, domainOptions, slotLimits } = ports
  const { uuid } = instance
  const guest = await driver.guest(uuid, signal)
  if (guest?.state !== 'running') {
    const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
    const domain = buildDomain(guestSpec(instance, domainOptions), capabilities)
    // One that stands still has memory that is of no use any more.
    if (guest !== undefined) await driver.powerOff(uuid)
    await driver.spawn(domain, signal)
  }
  await proveOrPowerOff(uuid, instance.mem_encryption, ports, signal)
}
