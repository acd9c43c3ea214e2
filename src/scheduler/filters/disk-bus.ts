import { isQ35 } from '../../objects/machine-type.ts'
import type { HostFilter } from './host-filter.ts'

/** What an image may name; other words mean nothing, and the builder of the domain refuses them by name. */
const BUSES: ReadonlySet<unknown> = new Set(['virtio', 'scsi', 'sata', 'ide', 'usb'])

/**
 * Drops hosts whose q35 has no disks on a bus that the image names: of its disks, and of CD-ROMs where it insists on a
 * config drive, which is one unless the host's operator says otherwise. What the old machine has is not told.
 */
export const diskBus: HostFilter = {
  name: 'DiskBus',
  fix: 'name buses on the image that the hosts have (hw_disk_bus, hw_cdrom_bus), or remove them',
  reject: ({ diskBuses, defaultMachineType }, { spec: { image } }) => {
    const { hw_disk_bus, hw_cdrom_bus, hw_machine_type: machine, img_config_drive } = image.properties
    const lacks = (bus: unknown) => BUSES.has(bus) && diskBuses.length > 0 && !diskBuses.includes(String(bus))
    const lacksDisks = lacks(hw_disk_bus)
    if (!lacksDisks && !(img_config_drive === 'mandatory' && lacks(hw_cdrom_bus))) return undefined
    if (!isQ35(String(machine ?? defaultMachineType))) return undefined
    const wish = lacksDisks
      ? `disks on ${hw_disk_bus}, which the image asks for (hw_disk_bus)`
      : `CD-ROMs on ${hw_cdrom_bus}, which the image asks for (hw_cdrom_bus)`
    return `has no ${wish}; on q35 it has ${diskBuses.join(', ').slice(0, 200)}`
  },
}
