import type { Instance } from '../../objects/instance.ts'
import { verifyEncryption } from '../boot-guest.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { untilDone } from '../patience.ts'

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
  await prove(instance, ports, signal)
}

/** Fail closed, as at the first boot: what is not proven does not run. */
export async function prove(instance: Instance, ports: ComputePorts, signal: AbortSignal): Promise<void> {
  const { driver } = ports
  try {
    await verifyEncryption(instance, driver, signal)
  } catch (error) {
    // The proof is left to whoever takes over: the newer work, or the next start of the worker.
    signal.throwIfAborted()
    await untilDone(`power off ${instance.uuid}`, () => driver.powerOff(instance.uuid), ports, signal)
    throw error
  }
}
