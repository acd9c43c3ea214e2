import { wantsGuestAgent } from '../../../objects/device-choices.ts'
import type { Configurator } from './configurator.ts'

/**
 * A channel to the guest's agent, for images that have one. Its virtio-serial controller is written down: libvirt
 * would add one by itself, but without `iommu`.
 */
export const guestAgent: Configurator = (domain, { image }) => {
  if (!wantsGuestAgent(image)) return domain
  return {
    ...domain,
    guestAgent: true,
    controllers: [...domain.controllers, { type: 'virtio-serial', index: 0, iommu: false }],
  }
}
