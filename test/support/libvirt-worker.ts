import { join } from 'node:path'

interface LibvirtHost {
  readonly uri: string
  readonly root: string
  readonly folder: string
  /** Undefined: as the product has it. */
  readonly cpuMode: string | undefined
}

/** The settings of a compute worker whose hypervisor, disks and images are those of a host of the tests; its network is for the test. */
export function libvirtWorker(host: LibvirtHost): Readonly<Record<string, string>> {
  return {
    SEVBUS_COMPUTE_DRIVER: 'libvirt',
    SEVBUS_LIBVIRT_URI: host.uri,
    SEVBUS_LIBVIRT_HOST_ROOT: host.root,
    SEVBUS_COMPUTE_INSTANCES_PATH: join(host.folder, 'instances'),
    SEVBUS_COMPUTE_IMAGE_FOLDER: join(host.folder, 'images'),
    ...(host.cpuMode !== undefined && { SEVBUS_COMPUTE_CPU_MODE: host.cpuMode }),
  }
}
