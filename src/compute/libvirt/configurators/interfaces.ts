import { deviceChoice } from '../../../objects/device-choices.ts'
import type { Configurator } from './configurator.ts'

/** One interface for each MAC address that the request brought; none, if it brought none. */
export const interfaces: Configurator = (domain, { image, macs, options: { network } }) => {
  const model = deviceChoice(image, 'hw_vif_model') ?? 'virtio'
  const source = { kind: 'network', network } as const
  return { ...domain, interfaces: macs.map((mac) => ({ mac, source, model, iommu: false })) }
}
