import type { ImageMeta } from '../../objects/image-meta.ts'
import type { Instance } from '../../objects/instance.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { configDriveFiles, type DriveFile } from './config-drive-files.ts'

/** What the disks of a guest hold when it starts; their number, sizes and formats are the domain's. */
export interface DiskContents {
  /** What the root disk begins as. */
  readonly image: ImageMeta
  /** Of the config drive; empty: the domain has none. */
  readonly configDrive: readonly DriveFile[]
}

/**
 * From values alone: the same guest gets the same disks, whoever makes them, and when.
 *
 * @param userData what the request gave for cloud-init, base64
 */
export function diskContents(instance: Instance, domain: DomainSpec, userData?: string): DiskContents {
  const hasDrive = domain.disks.some(({ role }) => role === 'config drive')
  return {
    image: instance.image,
    configDrive: hasDrive ? configDriveFiles(instance, domain.interfaces, userData) : [],
  }
}
