import { deviceChoice } from '../../../objects/device-choices.ts'
import type { Configurator } from './configurator.ts'

/** One interface for each MAC address that the request brought, where this host has a network for guests; else none. */
export const interfaces: Configurator = (domain, { image, macs, options: { network: source } }) => {
  const model = deviceChoice(image, 'hw_vif_model') ?? 'virtio'
  if (source.kind === 'none') return domain
  return { ...domain, interfaces: macs.map((mac) => ({ mac, source, model, iommu: false })) }
}
