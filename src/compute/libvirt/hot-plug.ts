import { FlavorImageConflict } from '../../errors.ts'
import { diskWithIommu, interfaceWithIommu } from './configurators/iommu.ts'
import { diskElement, interfaceElement } from './device-elements.ts'
import type { DiskSpec, InterfaceSpec } from './domain-spec.ts'
import { xmlOf } from './domain-xml.ts'

/** The guest that a device is attached to while it runs. */
export interface RunningGuest {
  readonly uuid: string
  readonly isEncrypted: boolean
}

/**
 * The document with which a disk is attached: the same rules as at boot, so that an encrypted guest can read it.
 * Data disks may be on virtio-blk: only booting from it takes more bounce buffers than there are.
 *
 * @throws FlavorImageConflict for IDE, which q35 does not have; InvalidDomainXml
 */
export function diskDeviceXml(disk: DiskSpec, { uuid, isEncrypted }: RunningGuest): string {
  if (isEncrypted && disk.bus === 'ide') {
    const fix = 'attach it on scsi, virtio or sata'
    throw new FlavorImageConflict(`disk ${disk.target} is to be on ide, which encrypted guests do not have; ${fix}`, {
      property: 'bus',
      value: disk.bus,
      fix,
    })
  }
  const device = isEncrypted ? diskWithIommu(disk) : disk
  return xmlOf({ disk: diskElement(device) }, `disk ${disk.target}`, uuid)
}

/** The document with which an interface is attached. @throws InvalidDomainXml */
export function interfaceDeviceXml(device: InterfaceSpec, { uuid, isEncrypted }: RunningGuest): string {
  const attached = isEncrypted ? interfaceWithIommu(device) : device
  return xmlOf({ interface: interfaceElement(attached) }, `interface ${device.mac}`, uuid)
}
