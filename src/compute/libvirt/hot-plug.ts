import { FlavorImageConflict } from '../../errors.ts'
import { controllerWithIommu, diskWithIommu, interfaceWithIommu } from './configurators/iommu.ts'
import { controllerElement, diskElement, interfaceElement } from './device-elements.ts'
import type { ControllerSpec, DiskSpec, InterfaceSpec } from './domain-spec.ts'
import { xmlOf } from './domain-xml.ts'
import type { PluggedDevice } from './plugged-device.ts'

/** By which a device is named that a guest is to let go. @throws InvalidDomainXml */
export function unpluggedXml(device: PluggedDevice, uuid: string): string {
  return device.kind === 'disk'
    ? xmlOf({ disk: diskElement(device.disk) }, `disk ${device.disk.target}`, uuid)
    : xmlOf({ interface: interfaceElement(device.interface) }, `interface ${device.interface.mac}`, uuid)
}

/** @throws FlavorImageConflict, InvalidDomainXml */
export function pluggedXmls(device: PluggedDevice, guest: RunningGuest): readonly string[] {
  return device.kind === 'disk' ? diskDeviceXmls(device.disk, guest) : [interfaceDeviceXml(device.interface, guest)]
}

/** The guest that a device is attached to while it runs. */
export interface RunningGuest {
  readonly uuid: string
  readonly isEncrypted: boolean
  readonly hasScsiController: boolean
}

/** The first of a guest that has none, of the model that guests get at boot. */
const SCSI_CONTROLLER: ControllerSpec = { type: 'scsi', index: 0, model: 'virtio-scsi', iommu: false }

/**
 * The documents with which a disk is attached, in this order: the same rules as at boot, so that an encrypted guest can
 * read it. A disk on SCSI brings the controller along where the guest has none: libvirt would add one by itself, but
 * without iommu. Data disks may be on virtio-blk: only booting from it takes more bounce buffers than there are.
 *
 * @throws FlavorImageConflict for IDE, which q35 does not have; InvalidDomainXml
 */
export function diskDeviceXmls(disk: DiskSpec, guest: RunningGuest): readonly string[] {
  const { uuid, isEncrypted } = guest
  if (isEncrypted && disk.bus === 'ide') {
    const fix = 'attach it on scsi, virtio or sata'
    throw new FlavorImageConflict(`disk ${disk.target} is to be on ide, which encrypted guests do not have; ${fix}`, {
      property: 'bus',
      value: disk.bus,
      fix,
    })
  }
  const device = isEncrypted ? diskWithIommu(disk) : disk
  const ofDisk = xmlOf({ disk: diskElement(device) }, `disk ${disk.target}`, uuid)
  return disk.bus === 'scsi' && !guest.hasScsiController ? [scsiControllerXml(guest), ofDisk] : [ofDisk]
}

function scsiControllerXml({ uuid, isEncrypted }: RunningGuest): string {
  const device = isEncrypted ? controllerWithIommu(SCSI_CONTROLLER) : SCSI_CONTROLLER
  return xmlOf({ controller: controllerElement(device) }, 'the SCSI controller', uuid)
}

/** The document with which an interface is attached. @throws InvalidDomainXml */
export function interfaceDeviceXml(device: InterfaceSpec, { uuid, isEncrypted }: RunningGuest): string {
  const attached = isEncrypted ? interfaceWithIommu(device) : device
  return xmlOf({ interface: interfaceElement(attached) }, `interface ${device.mac}`, uuid)
}
