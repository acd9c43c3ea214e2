import type { DiskBus, DiskSpec } from '../domain-spec.ts'

/** How the guest's kernel names disks of a bus; libvirt wants the same letters. */
const PREFIX: Readonly<Record<DiskBus, string>> = { virtio: 'vd', scsi: 'sd', sata: 'sd', ide: 'hd', usb: 'sd' }

/** The first name that no disk has yet: `sda`, …, `sdz`, `sdaa`. SCSI, SATA and USB share theirs. */
export function freeTarget(disks: readonly Pick<DiskSpec, 'target'>[], bus: DiskBus): string {
  for (let index = 0; ; index++) {
    const target = `${PREFIX[bus]}${letters(index)}`
    if (!disks.some((disk) => disk.target === target)) return target
  }
}

/** a, …, z, aa, ab, …: as Linux counts. */
function letters(index: number): string {
  const last = String.fromCharCode('a'.charCodeAt(0) + (index % 26))
  return index < 26 ? last : `${letters(Math.floor(index / 26) - 1)}${last}`
}
