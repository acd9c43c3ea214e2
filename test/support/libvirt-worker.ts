import { join } from 'node:path'
import type { PrivateLibvirt } from '../servers/libvirt-daemon.ts'

/** The settings of a compute worker whose hypervisor, disks and images are those of a private libvirt; its network is for the test. */
export function libvirtWorker(host: PrivateLibvirt): Readonly<Record<string, string>> {
  return {
    SEVBUS_COMPUTE_DRIVER: 'libvirt',
    SEVBUS_LIBVIRT_URI: host.uri,
    SEVBUS_LIBVIRT_HOST_ROOT: host.root,
    SEVBUS_COMPUTE_INSTANCES_PATH: join(host.folder, 'instances'),
    SEVBUS_COMPUTE_IMAGE_FOLDER: join(host.folder, 'images'),
    SEVBUS_COMPUTE_CPU_MODE: 'none',
  }
}
