import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledBoolean } from '../../../objects/spelled-value.ts'
import type { Configurator } from './configurator.ts'

/**
 * A channel to the guest's agent, for images that have one. Its virtio-serial controller is written down: libvirt
 * would add one by itself, but without `iommu`.
 */
export const guestAgent: Configurator = (domain, { image }) => {
  const property = 'hw_qemu_guest_agent'
  if (spelledBoolean(imageLabel(image), property, image.properties[property]) !== true) return domain
  return {
    ...domain,
    guestAgent: true,
    controllers: [...domain.controllers, { type: 'virtio-serial', index: 0, iommu: false }],
  }
}
