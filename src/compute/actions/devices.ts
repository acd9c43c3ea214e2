import { InterfaceAttachFailed } from '../../errors.ts'
import type { AttachedInterface, Volume } from '../../objects/attached-devices.ts'
import { devicesAfter, volumeOf } from '../../objects/attachment-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ActionResult, InstanceAction } from '../../objects/instance-action.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import type { PluggedDevice } from '../libvirt/plugged-device.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { plug, unplug } from './plug.ts'

/**
 * Plugs a volume in. The guest's document is made from values with it and without it, as a start makes it.
 *
 * @throws DeviceNotAllowed, VolumeAttachFailed, GuestNotFound
 */
export async function attachVolume(
  instance: Instance,
  volume: Volume,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { before, after } = await domains(instance, { name: 'attach_volume', volume }, ports, signal)
  const device = diskOf(after, volume)
  await plug({ before, after, device }, ports, signal)
  return { device: device.disk.target }
}

/** @throws DeviceDetachFailed, GuestNotFound */
export async function detachVolume(
  instance: Instance,
  volume_id: string,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const volume = volumeOf(instance, volume_id)
  const { before, after } = await domains(instance, { name: 'detach_volume', volume_id }, ports, signal)
  await unplug({ before, after, device: diskOf(before, volume) }, ports, signal)
}

/** @throws DeviceNotAllowed, InterfaceAttachFailed, GuestNotFound */
export async function attachInterface(
  instance: Instance,
  asked: AttachedInterface,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const action = { name: 'attach_interface', interface: asked } as const
  const { before, after } = await domains(instance, action, ports, signal)
  const device = interfaceOf(after, asked.mac)
  if (device === undefined) {
    const fix = 'name a network or a bridge that this host gives to guests, or set compute.network there'
    throw new InterfaceAttachFailed(`this host plugs guests in nowhere (compute.network = none); ${fix}`, { fix })
  }
  await plug({ before, after, device }, ports, signal)
}

/** One that this host has never plugged in is gone already. @throws DeviceDetachFailed, GuestNotFound */
export async function detachInterface(
  instance: Instance,
  mac: string,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { before, after } = await domains(instance, { name: 'detach_interface', mac }, ports, signal)
  const device = interfaceOf(before, mac)
  if (device !== undefined) await unplug({ before, after, device }, ports, signal)
}

/** The guest's document as it is, and as it is to be. */
async function domains(
  instance: Instance,
  action: InstanceAction,
  { driver, domainOptions, slotLimits }: ComputePorts,
  signal: AbortSignal,
): Promise<{ readonly before: DomainSpec; readonly after: DomainSpec }> {
  const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
  const domainOf = (each: Instance) => buildDomain(guestSpec(each, domainOptions), capabilities)
  return { before: domainOf(instance), after: domainOf({ ...instance, ...devicesAfter(instance, action, {}) }) }
}

function diskOf(domain: DomainSpec, { path }: Volume) {
  // The domain was built with it.
  const disk = domain.disks.find(({ file }) => file === path) as DomainSpec['disks'][number]
  return { kind: 'disk', disk } as const satisfies PluggedDevice
}

function interfaceOf(domain: DomainSpec, mac: string): PluggedDevice | undefined {
  const found = domain.interfaces.find((each) => each.mac === mac)
  return found && { kind: 'interface', interface: found }
}
