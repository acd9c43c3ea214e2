import { imageLabel } from '../../../objects/image-meta.ts'
import { spelledChoice } from '../../../objects/spelled-value.ts'
import type { Configurator } from './configurator.ts'

/** Nova's choices for QEMU on x86 (`nova.network.model`), emulated cards after the usual one. */
const MODELS = ['virtio', 'e1000', 'e1000e', 'ne2k_pci', 'pcnet', 'rtl8139', 'vmxnet3'] as const

/** One interface for each MAC address that the request brought; none, if it brought none. */
export const interfaces: Configurator = (domain, { image, macs, options: { network } }) => {
  const property = 'hw_vif_model'
  const model = spelledChoice(imageLabel(image), property, image.properties[property], MODELS) ?? 'virtio'
  const source = { kind: 'network', network } as const
  return { ...domain, interfaces: macs.map((mac) => ({ mac, source, model, iommu: false })) }
}
