import { DeviceNotAllowed } from '../../../errors.ts'
import type { AttachedInterface } from '../../../objects/attached-devices.ts'
import { deviceChoice } from '../../../objects/device-choices.ts'
import type { InterfaceSpec, NetworkSource } from '../domain-spec.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { Configurator } from './configurator.ts'

/**
 * One interface for each MAC address that the request brought, where this host has a network for guests; else none. Then
 * those that were attached, each where it was asked for.
 *
 * @throws DeviceNotAllowed
 */
export const interfaces: Configurator = (domain, { image, macs, interfaces: attached, options }) => {
  const model = deviceChoice(image, 'hw_vif_model') ?? 'virtio'
  const { network } = options
  const made: InterfaceSpec[] = []
  if (network.kind !== 'none') made.push(...macs.map((mac) => ({ mac, source: network, model, iommu: false })))
  for (const each of attached) {
    const source = sourceOf(each, options)
    if (source.kind !== 'none') made.push({ mac: each.mac, source, model, iommu: false })
  }
  return { ...domain, interfaces: made }
}

/** Those of the host's own guests need not be on its list. */
function sourceOf({ mac, source }: AttachedInterface, { network, attachableNetworks }: GuestSpec['options']) {
  if (source === null) return network
  const nameOf = (each: NetworkSource) => (each.kind === 'bridge' ? `bridge ${each.bridge}` : `network ${each.network}`)
  const allowed = [...(network.kind === 'none' ? [] : [network]), ...attachableNetworks].map(nameOf)
  if (allowed.includes(nameOf(source))) return source
  const option = source.kind === 'bridge' ? 'compute.attachable_bridges' : 'compute.attachable_networks'
  const fix = `have its operator add it to ${option}`
  const message = `interface ${mac} is to be on ${nameOf(source)}, which this host gives to no guest; ${fix}`
  throw new DeviceNotAllowed(message, { mac, network: nameOf(source), fix })
}
