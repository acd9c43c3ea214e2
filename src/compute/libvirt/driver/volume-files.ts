import { realpath, stat } from 'node:fs/promises'
import { VolumeAttachFailed } from '../../../errors.ts'
import type { DiskSpec, DomainSpec } from '../domain-spec.ts'

/**
 * That the operator gives a folder away is known by its name; a link in it would lead elsewhere. Device nodes have links as
 * names (`/dev/vg-guests/data` is one to `/dev/dm-3`), which only root makes.
 *
 * @throws VolumeAttachFailed for a volume that is not there, or is something else
 */
export async function refuseOtherFiles({ uuid, disks }: Pick<DomainSpec, 'uuid' | 'disks'>): Promise<void> {
  for (const disk of disks) {
    const flaw = disk.role === 'volume' ? await flawOf(disk) : undefined
    if (flaw === undefined) continue
    throw new VolumeAttachFailed(`the volume ${disk.file} ${flaw[0]}; ${flaw[1]}`, {
      instance_uuid: uuid,
      path: disk.file,
      reason: flaw[0],
      fix: flaw[1],
    })
  }
}

async function flawOf({ file }: DiskSpec): Promise<readonly [string, string] | undefined> {
  try {
    const [really, found] = [await realpath(file), await stat(file)]
    if (file.startsWith('/dev/')) {
      if (found.isBlockDevice() && really.startsWith('/dev/')) return undefined
      return ['is no block device', 'name one']
    }
    if (really !== file) return [`leads to ${really}`, 'name a path without links in it']
    return found.isFile() ? undefined : ['is no file', 'name a file, or a block device under /dev']
  } catch (error) {
    return [`cannot be looked at: ${(error as Error).message}`, 'see that it is on this host']
  }
}
