import {
  DeviceDetachFailed,
  InterfaceAttachFailed,
  LibvirtError,
  type SevbusError,
  VolumeAttachFailed,
} from '../../../errors.ts'
import type { DomainSpec } from '../domain-spec.ts'
import { pluggedXmls, unpluggedXml } from '../hot-plug.ts'
import { hasScsiController, isPlugged, type PluggedDevice, targetOf } from '../plugged-device.ts'
import { FLAGS, type Libvirt } from '../rpc/libvirt.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'
import { definitionOf } from './definition.ts'
import { refuseOtherFiles } from './volume-files.ts'

interface Plugging {
  readonly libvirt: Libvirt
  /** What the guest is to be from now on. */
  readonly domain: DomainSpec
  readonly device: PluggedDevice
  /** The live document; undefined: the guest is off. */
  readonly running: () => Promise<string | undefined>
}

/** @throws VolumeAttachFailed, InterfaceAttachFailed, and what `running` throws */
export async function plugIn({ libvirt, domain, device, running }: Plugging): Promise<void> {
  const { uuid } = domain
  const live = await running()
  await refuseOtherFiles(domain)
  try {
    await libvirt.domainDefineXmlFlags(definitionOf(domain).xml, FLAGS.defineValidate)
    if (live === undefined || isPlugged(live, device)) return
    const isEncrypted = domain.launchSecurity !== undefined
    const guest = { uuid, isEncrypted, hasScsiController: hasScsiController(live) }
    for (const xml of pluggedXmls(device, guest)) await libvirt.domainAttachDeviceFlags(uuid, xml, FLAGS.deviceLive)
  } catch (error) {
    throw error instanceof LibvirtError ? notPlugged(uuid, device, error) : error
  }
}

/** Asks a guest that runs to let the device go. @throws DeviceDetachFailed, and what `running` throws */
export async function takeOut({ libvirt, domain, device, running }: Plugging): Promise<void> {
  const { uuid } = domain
  const live = await running()
  try {
    await libvirt.domainDefineXmlFlags(definitionOf(domain).xml, FLAGS.defineValidate)
    if (live === undefined || !isPlugged(live, device)) return
    await libvirt.domainDetachDeviceFlags(uuid, unpluggedXml(asLive(device, live), uuid), FLAGS.deviceLive)
  } catch (error) {
    if (isLibvirtError(error, VIR_ERR.deviceMissing) || isUnderWay(error)) return
    if (!(error instanceof LibvirtError)) throw error
    throw new DeviceDetachFailed(`${nameOf(device)} cannot be taken out: ${error.message}`, {
      instance_uuid: uuid,
      reason: error.message,
    })
  }
}

/** libvirt knows a disk by its name, which is what it was called when the guest started. */
function asLive(device: PluggedDevice, live: string): PluggedDevice {
  if (device.kind !== 'disk') return device
  return { kind: 'disk', disk: { ...device.disk, target: targetOf(live, device.disk) ?? device.disk.target } }
}

/** Asked for already: QEMU waits for the guest. Seen of QEMU 7.2: "Device … is already in the process of unplug". */
function isUnderWay(error: unknown): boolean {
  return error instanceof LibvirtError && error.message.includes('in the process of unplug')
}

function nameOf(device: PluggedDevice): string {
  return device.kind === 'disk' ? `volume ${device.disk.file}` : `interface ${device.interface.mac}`
}

/** libvirt says so when a machine has no slot left: q35 has as many ports as it was started with. */
const NO_SLOT = /No more available PCI slots|no free .*port/i

function notPlugged(uuid: string, device: PluggedDevice, { message }: LibvirtError): SevbusError {
  const fix = NO_SLOT.test(message)
    ? 'stop the instance first, or have more ports by compute.num_pcie_ports; volumes on scsi need none'
    : 'see what the host says, or stop the instance first'
  const Failure = device.kind === 'disk' ? VolumeAttachFailed : InterfaceAttachFailed
  return new Failure(`${nameOf(device)} cannot be plugged in: ${message}; ${fix}`, {
    instance_uuid: uuid,
    reason: message,
    fix,
  })
}
