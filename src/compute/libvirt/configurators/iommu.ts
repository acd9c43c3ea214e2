import type { DomainSpec, VirtioDevice } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/**
 * `iommu='on'` on every virtio device of an encrypted guest, and on nothing else. It makes the guest use its DMA API,
 * and so the bounce buffers that host and guest share; no IOMMU is needed (the spec, "Proposed change").
 * Works over the whole value, and last, so that no other configurator can forget it.
 */
export const iommu: Configurator = (domain, { encryption }) => {
  if (encryption === undefined) return domain
  return {
    ...domain,
    disks: domain.disks.map((disk) => on(disk, disk.bus === 'virtio')),
    controllers: domain.controllers.map((device) => on(device, isVirtioController(device))),
    interfaces: domain.interfaces.map((device) => on(device, device.model === 'virtio')),
    video: on(domain.video, domain.video.model === 'virtio'),
    memballoon: on(domain.memballoon, true),
    rng: on(domain.rng, true),
  }
}

function on<D extends VirtioDevice>(device: D, isVirtio: boolean): D {
  return isVirtio ? { ...device, iommu: true } : device
}

function isVirtioController({ type, model }: DomainSpec['controllers'][number]): boolean {
  return type === 'virtio-serial' || (model?.startsWith('virtio') ?? false)
}
