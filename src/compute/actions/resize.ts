import { InvalidSharedStorage } from '../../errors.ts'
import type { Instance } from '../../objects/instance.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { powerOff } from './power-off.ts'
import { powerOn } from './power-on.ts'

/** What an action has to tell beside that it is done. */
export interface Done {
  readonly disks?: LeftDisks
}

/**
 * The guest leaves for a host that sees its disks. It stays defined here, and cannot be started by anybody: its disks are
 * where it does not find them, as they are now, whatever the other host makes of its copies.
 *
 * @throws InvalidSharedStorage before anything is done, or what stopping a guest throws
 */
export async function leaveHost(
  instance: Instance,
  { storage, clean_shutdown }: { readonly storage: string; readonly clean_shutdown: boolean },
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<Done> {
  const { driver, host } = ports
  const own = await driver.storage(signal)
  if (own !== storage) {
    const fix =
      'give both hosts a folder that they share (compute.shared_instances_path), or migrate it to a host that has one in common'
    throw new InvalidSharedStorage(
      `host ${host} has disks on storage ${own}, and the destination sees ${storage}; ${fix}`,
      {
        instance_uuid: instance.uuid,
        storage: own,
        destination: storage,
        fix,
      },
    )
  }
  const guest = await driver.guest(instance.uuid, signal)
  if (guest !== undefined && guest.state !== 'shutoff') await powerOff(instance, { clean_shutdown }, ports, signal)
  signal.throwIfAborted()
  return { disks: await driver.setDisksAside(instance.uuid) }
}

/** It is what it was before it left. @throws what a start throws */
export async function comeBack(
  instance: Instance,
  { power_on }: { readonly power_on: boolean },
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { driver, domainOptions, slotLimits } = ports
  await driver.bringDisksBack(instance.uuid)
  signal.throwIfAborted()
  // It was on its way as it runs, and has all that it had.
  if (power_on && (await driver.guest(instance.uuid, signal))?.state === 'paused') await driver.unpause(instance.uuid)
  if (power_on) return await powerOn(instance, ports, signal)
  const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
  await driver.define(buildDomain(guestSpec(instance, domainOptions), capabilities), signal)
}
