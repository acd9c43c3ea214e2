import { isQ35 } from '../../objects/machine-type.ts'
import type { HostFilter } from './host-filter.ts'

/** What an image may name; other words mean nothing, and the builder of the domain refuses them by name. */
const BUSES: ReadonlySet<unknown> = new Set(['virtio', 'scsi', 'sata', 'ide', 'usb'])

/** Drops hosts whose q35 has no disks on the bus that the image names. What the old machine has is not told. */
export const diskBus: HostFilter = {
  name: 'DiskBus',
  fix: 'name a disk bus on the image that the hosts have (hw_disk_bus), or remove it',
  reject: ({ diskBuses, defaultMachineType }, { spec: { image } }) => {
    const { hw_disk_bus: bus, hw_machine_type: machine } = image.properties
    if (!BUSES.has(bus) || diskBuses.length === 0 || diskBuses.includes(String(bus))) return undefined
    return isQ35(String(machine ?? defaultMachineType))
      ? `has no disks on ${bus}, which the image asks for (hw_disk_bus); on q35 it has ${diskBuses.join(', ').slice(0, 200)}`
      : undefined
  },
}
