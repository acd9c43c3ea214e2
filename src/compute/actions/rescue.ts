import { GuestNotFound } from '../../errors.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import { isRescued } from '../libvirt/plugged-device.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { proveOrPowerOff } from '../prove-encryption.ts'
import { Rollback } from '../rollback.ts'
import { powerOff } from './power-off.ts'
import { powerOn } from './power-on.ts'

/**
 * Boots the guest from another image, with its own root disk beside that: with the encryption of the instance, and proved, as
 * at any start. Its image is fetched before its power is taken; what fails after that leaves it as it was.
 *
 * @throws GuestNotFound, what a first boot throws
 */
export async function rescue(
  instance: Instance,
  image: ImageMeta,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { driver, domainOptions, slotLimits, logger } = ports
  const { uuid } = instance
  const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
  const domain = buildDomain({ ...guestSpec({ ...instance, image }, domainOptions), isRescued: true }, capabilities)
  const guest = await driver.guest(uuid, signal)
  if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  await using rollback = new Rollback(({ step, error }) =>
    logger.error({ instance_uuid: uuid, step, err: error }, 'undo failed; a hard reboot puts it right'),
  )
  rollback.add('leave it as it was', () => leaveRescue(instance, ports, signal))
  if (guest.state !== 'running' || !isRescued(await driver.domainXml(uuid, signal))) {
    await driver.createDisks(domain, { image, configDrive: [] }, signal)
    await powerOff(instance, { clean_shutdown: true }, ports, signal)
    await driver.spawn(domain, signal)
  }
  await proveOrPowerOff(uuid, instance.mem_encryption, ports, signal)
  signal.throwIfAborted()
  rollback.commit()
}

/** Given up for newer work, or because the worker stops, it is left to those. */
async function leaveRescue(instance: Instance, ports: ComputePorts, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return
  const { driver } = ports
  const { uuid, vm_state } = instance
  if (isRescued(await driver.domainXml(uuid, signal))) await driver.powerOff(uuid)
  if (vm_state === 'active') await powerOn(instance, ports, signal)
  await driver.removeRescueDisk(uuid)
}

/** @throws GuestNotFound, what a start throws */
export async function unrescue(instance: Instance, ports: ComputePorts, signal: AbortSignal): Promise<void> {
  const { driver } = ports
  const { uuid } = instance
  if (isRescued(await driver.domainXml(uuid, signal))) {
    await powerOff(instance, { clean_shutdown: true }, ports, signal)
  }
  await powerOn(instance, ports, signal)
  await driver.removeRescueDisk(uuid)
}
