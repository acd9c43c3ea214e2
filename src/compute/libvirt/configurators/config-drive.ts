import { deviceChoice, insistsOnConfigDrive } from '../../../objects/device-choices.ts'
import { isQ35 } from '../../../objects/machine-type.ts'
import type { DiskBus, DiskSpec, DomainSpec } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { Configurator } from './configurator.ts'
import { freeTarget } from './disk-targets.ts'
import { refuseIdeOnQ35 } from './ide.ts'

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

/** The request wants one, the image insists, or the operator does: Nova's `force_config_drive`. */
function wantsConfigDrive({ configDrive: isAsked, image, options }: GuestSpec): boolean {
  return isAsked || options.forceConfigDrive || insistsOnConfigDrive(image)
}

/**
 * The host's `compute.cdrom_bus` is for every guest there, whatever its machine, so IDE is for those that have it: q35
 * takes SATA then. An image that names IDE itself is wrong on q35.
 *
 * @throws HostCapabilityMissing
 */
function cdromBus({ os: { machine } }: DomainSpec, { image, options }: GuestSpec): DiskBus {
  const asked = deviceChoice(image, 'hw_cdrom_bus')
  if (asked !== undefined) {
    refuseIdeOnQ35(asked, machine, 'hw_cdrom_bus', 'set it to sata or scsi on the image, or remove it')
    return asked
  }
  const byHost = options.cdromBus ?? 'ide'
  return byHost === 'ide' && isQ35(machine) ? 'sata' : byHost
}
