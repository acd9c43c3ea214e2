import { isQ35 } from '../../../objects/machine-type.ts'
import type { Configurator } from './configurator.ts'

/** Free ports for devices that are attached later: Nova's `num_pcie_ports`. Only q35 has any. */
export const pciePorts: Configurator = (domain, { options: { numPciePorts } }) => {
  if (numPciePorts === 0 || !isQ35(domain.os.machine)) return domain
  const root = { type: 'pci', index: 0, model: 'pcie-root', iommu: false } as const
  const ports = Array.from({ length: numPciePorts }, (_, port) => ({
    type: 'pci' as const,
    index: port + 1,
    model: 'pcie-root-port',
    iommu: false,
  }))
  return { ...domain, controllers: [...domain.controllers, root, ...ports] }
}
