import { FlavorImageConflict, HostCapabilityMissing } from '../../../errors.ts'
import { imageLabel } from '../../../objects/image-meta.ts'
import { isQ35 } from '../../../objects/machine-type.ts'
import { spelledChoice } from '../../../objects/spelled-value.ts'
import type { DiskBus, DiskSpec, DomainSpec } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { Configurator } from './configurator.ts'
import { freeTarget } from './disk-targets.ts'
import { DISK_BUSES } from './disks.ts'

/**
 * The drive from which cloud-init reads: a CD-ROM (`iso9660`), or a virtio disk (`vfat`), as `config_drive_format` says.
 * The spec, "Limitations": on q35 a CD-ROM cannot be on IDE, so its bus is an option, and the image's `hw_cdrom_bus`.
 */
export const configDrive: Configurator = (domain, guest) => {
  const { configDriveFormat: format } = guest.options
  if (!wantsConfigDrive(guest)) return domain
  const bus = format === 'iso9660' ? cdromBus(domain, guest) : 'virtio'
  const drive: DiskSpec = {
    role: 'config drive',
    device: format === 'iso9660' ? 'cdrom' : 'disk',
    format: 'raw',
    file: `${guest.folder}/disk.config`,
    bus,
    target: freeTarget(domain.disks, bus),
    sizeMib: 0,
    iommu: false,
  }
  return { ...domain, disks: [...domain.disks, drive] }
}

/** The image insists, or the operator does: Nova's `force_config_drive`. */
function wantsConfigDrive({ image, options }: GuestSpec): boolean {
  const property = 'img_config_drive'
  const asked = spelledChoice(imageLabel(image), property, image.properties[property], ['mandatory', 'optional'])
  return options.forceConfigDrive || asked === 'mandatory'
}

/** @throws FlavorImageConflict, or HostCapabilityMissing where the host's own choice is wrong */
function cdromBus({ os: { machine } }: DomainSpec, { image, options }: GuestSpec): DiskBus {
  const property = 'hw_cdrom_bus'
  const asked = spelledChoice(imageLabel(image), property, image.properties[property], DISK_BUSES)
  const bus = asked ?? options.cdromBus ?? (isQ35(machine) ? 'sata' : 'ide')
  if (bus !== 'ide' || !isQ35(machine)) return bus
  if (asked === undefined) {
    const fix = 'set compute.cdrom_bus to sata on the host, or remove it'
    throw new HostCapabilityMissing(
      `compute.cdrom_bus is ide, but ${machine} has no IDE for the guest's config drive; ${fix}`,
      { field: 'compute.cdrom_bus', value: 'ide', fix },
    )
  }
  const fix = 'set hw_cdrom_bus=sata or scsi, or remove it'
  throw new FlavorImageConflict(`${imageLabel(image)} has hw_cdrom_bus=ide, but ${machine} has no IDE; ${fix}`, {
    property,
    value: 'ide',
    fix,
  })
}
