import { HostCapabilityMissing, InvalidMachineType } from '../../../errors.ts'
import { imageLabel } from '../../../objects/image-meta.ts'
import { isQ35 } from '../../../objects/machine-type.ts'
import type { GuestSpec } from '../guest-spec.ts'
import type { HostCapabilities } from '../host-capabilities.ts'
import type { Configurator } from './configurator.ts'

/** The image's machine type, else the host's. Encrypted guests need q35: virtio 1.0 on PCIe (the spec, "Proposed change"). */
export const machine: Configurator = (domain, guest, host) => {
  const asked = guest.image.properties.hw_machine_type
  const chosen = asked === undefined || asked === null ? host.defaultMachineType : String(asked)
  if (guest.encryption !== undefined && !isQ35(chosen)) throw notQ35(guest, chosen, chosen === asked)
  refuseUnknown(chosen, host)
  return { ...domain, os: { ...domain.os, arch: host.arch, machine: chosen } }
}

/** Asked for by the image it is wrong everywhere; left to the host it is wrong here. */
function notQ35(guest: GuestSpec, chosen: string, byImage: boolean): Error {
  const fix = `set hw_machine_type=q35 on the image${byImage ? '' : ', or make q35 the default machine type of the host'}`
  const facts = { property: 'hw_machine_type', value: chosen, fix }
  const message = `encrypted guests need machine type q35, but ${byImage ? imageLabel(guest.image) : 'the host by default'} has ${chosen}; ${fix}`
  return byImage ? new InvalidMachineType(message, facts) : new HostCapabilityMissing(message, facts)
}

function refuseUnknown(chosen: string, { machineTypes }: HostCapabilities): void {
  if (machineTypes.includes(chosen)) return
  const fix = 'name another hw_machine_type on the image, or update QEMU on the host'
  throw new HostCapabilityMissing(`this host has no machine type ${chosen}; ${fix}`, {
    value: chosen,
    known: machineTypes.slice(0, 50),
    fix,
  })
}
