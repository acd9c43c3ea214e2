import type { Configurator } from './configurator.ts'

/** One virtio interface for each MAC address that the request brought; none, if it brought none. */
export const interfaces: Configurator = (domain, { macs, network }) => ({
  ...domain,
  interfaces: macs.map((mac) => ({ mac, network, model: 'virtio', iommu: false })),
})
