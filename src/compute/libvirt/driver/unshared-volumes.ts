import { statfs } from 'node:fs/promises'
import { InvalidSharedStorage } from '../../../errors.ts'
import { parseDomain } from '../parse-domain.ts'
import { attribute, child, children } from '../parse-xml.ts'

/** Of file systems that are one host's alone, by their numbers. Source: Linux, include/uapi/linux/magic.h */
const LOCAL_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'XFS'],
  [0x9123683e, 'Btrfs'],
  [0x2fc12fc1, 'ZFS'],
  [0xf2f52010, 'F2FS'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlayfs'],
])

/** Files that are attached to a guest. Volumes have their ids as serial numbers, and other disks have none. */
export function fileVolumes(xml: string): readonly string[] {
  const disks = children(child(parseDomain(xml), 'devices'), 'disk')
  return disks
    .filter((disk) => child(disk, 'serial') !== undefined && attribute(disk, 'type') === 'file')
    .flatMap((disk) => attribute(child(disk, 'source'), 'file') ?? [])
}

/**
 * libvirt sends no guest elsewhere whose file is on a file system of this host alone, and would say so when all is made
 * ready there. Of file systems that are not known here it decides.
 *
 * @throws InvalidSharedStorage
 */
export async function refuseUnsharedVolumes(uuid: string, xml: string): Promise<void> {
  for (const path of fileVolumes(xml)) {
    const { type } = await statfs(path)
    const name = LOCAL_FILE_SYSTEMS.get(type)
    if (name === undefined) continue
    const fix =
      'put it on a file system that hosts share (NFS, CephFS, GFS2, …), or migrate the instance while it is off'
    throw new InvalidSharedStorage(`its volume ${path} is on ${name}, which this host alone sees; ${fix}`, {
      instance_uuid: uuid,
      path,
      fix,
    })
  }
}
