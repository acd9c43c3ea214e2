import { FlavorImageConflict } from '../../../errors.ts'
import { deviceChoice } from '../../../objects/device-choices.ts'
import { imageLabel } from '../../../objects/image-meta.ts'
import { type DiskBus, type DiskSpec, RESCUE_DISK } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { Configurator } from './configurator.ts'
import { freeTarget } from './disk-targets.ts'
import { refuseIdeOnQ35 } from './ide.ts'

/** Root, ephemeral and swap disk, as the flavor sizes them, on one bus. */
export const disks: Configurator = (domain, guest) => {
  const bus = diskBus(guest)
  refuseIdeOnQ35(bus, domain.os.machine, 'hw_disk_bus', 'set hw_machine_type=pc or another hw_disk_bus on the image')
  const { root_gb, ephemeral_gb, swap } = guest.flavor
  const rescue = { role: 'rescue', file: `${guest.folder}/${RESCUE_DISK}`, sizeMib: 0 } as const
  const wanted = [
    ...(guest.isRescued ? [rescue] : []),
    { role: 'root', file: `${guest.folder}/disk`, sizeMib: root_gb * 1024 },
    { role: 'ephemeral', file: `${guest.folder}/disk.eph0`, sizeMib: ephemeral_gb * 1024 },
    { role: 'swap', file: `${guest.folder}/disk.swap`, sizeMib: swap },
  ] as const
  const made: DiskSpec[] = []
  for (const disk of wanted) {
    if (disk.role !== 'root' && disk.role !== 'rescue' && disk.sizeMib === 0) continue
    const bootOrder = guest.isRescued && disk.role === 'root' ? { bootOrder: 2 } : {}
    made.push({
      ...disk,
      ...bootOrder,
      device: 'disk',
      format: 'qcow2',
      bus,
      target: freeTarget(made, bus),
      iommu: false,
    })
  }
  return { ...domain, disks: made }
}

/**
 * virtio-scsi for encrypted guests, virtio-blk for others, unless the image says otherwise. An encrypted guest cannot
 * boot from virtio-blk: too few bounce buffers for its DMA (the spec, "Limitations").
 */
function diskBus({ image, encryption }: GuestSpec): DiskBus {
  const asked = deviceChoice(image, 'hw_disk_bus')
  if (encryption === undefined) return asked ?? 'virtio'
  if (asked !== 'virtio' && asked !== 'ide') return asked ?? 'scsi'
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_disk_bus=${asked}, from which an encrypted guest cannot boot; set hw_disk_bus=scsi or remove it`,
    { property: 'hw_disk_bus', value: asked, fix: 'set hw_disk_bus=scsi or remove it' },
  )
}
