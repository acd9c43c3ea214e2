import type { ControllerSpec, DiskSpec, DomainSpec, InputSpec, InterfaceSpec, VirtioDevice } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/**
 * `iommu='on'` on every virtio device of an encrypted guest, and on nothing else. It makes the guest use its DMA API,
 * and so the bounce buffers that host and guest share; no IOMMU is needed (the spec, "Proposed change").
 * Works over the whole value, and last, so that no other configurator can forget it.
 */
export const iommu: Configurator = (domain, { encryption }) => (encryption === undefined ? domain : withIommu(domain))

/** The same for each kind of device: at boot here, and on hot-plug in `hot-plug.ts`. */
export function withIommu(domain: DomainSpec): DomainSpec {
  return {
    ...domain,
    disks: domain.disks.map(diskWithIommu),
    filesystems: domain.filesystems.map((device) => on(device)),
    controllers: domain.controllers.map(controllerWithIommu),
    interfaces: domain.interfaces.map(interfaceWithIommu),
    inputs: domain.inputs.map((device: InputSpec) => on(device, device.bus === 'virtio')),
    video: domain.video && on(domain.video, domain.video.model === 'virtio'),
    memballoon: domain.memballoon && on(domain.memballoon),
    rng: domain.rng && on(domain.rng),
    vsock: domain.vsock && on(domain.vsock),
  }
}

export function diskWithIommu(disk: DiskSpec): DiskSpec {
  return on(disk, disk.bus === 'virtio')
}

export function interfaceWithIommu(device: InterfaceSpec): InterfaceSpec {
  return on(device, device.model === 'virtio')
}

export function controllerWithIommu(device: ControllerSpec): ControllerSpec {
  const { type, model } = device
  return on(device, type === 'virtio-serial' || (type === 'scsi' && model === 'virtio-scsi'))
}

function on<D extends VirtioDevice>(device: D, isVirtio = true): D {
  return isVirtio ? { ...device, iommu: true } : device
}
