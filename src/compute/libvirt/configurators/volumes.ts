import { DeviceNotAllowed } from '../../../errors.ts'
import type { AttachedVolume } from '../../../objects/attached-devices.ts'
import type { DiskSpec } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { Configurator } from './configurator.ts'
import { freeTarget } from './disk-targets.ts'

/**
 * Volumes that were attached, by the names that they were given then, where no disk of the instance has that by now. What
 * the operator no longer gives away is refused at each start.
 *
 * @throws DeviceNotAllowed
 */
export const volumes: Configurator = (domain, { volumes: attached, options }) => {
  const disks: DiskSpec[] = [...domain.disks]
  for (const volume of attached) {
    refuseElsewhere(volume, options)
    const isFree = volume.device !== '' && !disks.some(({ target }) => target === volume.device)
    disks.push({
      role: 'volume',
      device: 'disk',
      format: 'raw',
      file: volume.path,
      serial: volume.volume_id,
      bus: volume.bus,
      target: isFree ? volume.device : freeTarget(disks, volume.bus),
      sizeMib: 0,
      iommu: false,
    })
  }
  return { ...domain, disks }
}

/** What a path leads to is looked at where the files are. */
function refuseElsewhere({ volume_id, path }: AttachedVolume, { volumeFolders }: GuestSpec['options']): void {
  if (volumeFolders.some((folder) => path.startsWith(folder.endsWith('/') ? folder : `${folder}/`))) return
  const fix = 'put the volume into one of the folders of compute.volume_folders, or have its operator add this one'
  throw new DeviceNotAllowed(`volume ${volume_id} is ${path}, which this host gives to no guest; ${fix}`, {
    volume_id,
    path,
    fix,
  })
}
