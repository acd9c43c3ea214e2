import { MAX_MACHINE_TYPE } from '../../objects/machine-type.ts'
import { attribute, child, children, parseXml, textOf, type XmlElement } from './parse-xml.ts'

/** What libvirt tells about a host as a whole (`virConnectGetCapabilities`). */
export interface LibvirtCapabilities {
  /** Of the processor: `x86_64`. */
  readonly arch: string | undefined
  readonly guests: readonly GuestArchitecture[]
}

/** What guests of one architecture can be. */
export interface GuestArchitecture {
  readonly arch: string
  readonly machines: readonly MachineType[]
  /** `qemu`, and `kvm` where the hardware helps. */
  readonly domainTypes: readonly string[]
}

export interface MachineType {
  readonly name: string
  /** What an alias (`q35`) stands for (`pc-q35-7.2`). */
  readonly canonical: string | undefined
}

/** @throws InvalidDomainXml when it is no such document */
export function parseLibvirtCapabilities(xml: string): LibvirtCapabilities {
  const root = parseXml(xml, 'capabilities', 'the capabilities')
  return {
    arch: textOf(child(root, 'host', 'cpu', 'arch')),
    guests: children(root, 'guest').flatMap((guest) => {
      const arch = child(guest, 'arch')
      const name = attribute(arch, 'name')
      if (arch === undefined || name === undefined || textOf(child(guest, 'os_type')) !== 'hvm') return []
      const domains = children(arch, 'domain')
      return [
        {
          arch: name,
          // KVM may know machine types of its own, listed with its domain.
          machines: unique([arch, ...domains].flatMap(machinesOf)),
          domainTypes: domains.flatMap((domain) => attribute(domain, 'type') ?? []),
        },
      ]
    }),
  }
}

/** Every name that a guest of the architecture may ask for, aliases first. */
export function machineTypesOf({ guests }: LibvirtCapabilities, arch: string): readonly string[] {
  const machines = guests.filter((guest) => guest.arch === arch).flatMap((guest) => guest.machines)
  const aliases = machines.filter(({ canonical }) => canonical !== undefined)
  return [...new Set([...aliases, ...machines].map(({ name }) => name))]
}

/**
 * Those whose domain capabilities are worth asking for: aliases, which stand for the newest of their family, and the
 * host's default. Any of forty versions would be asked for in vain.
 */
export function machineTypesOfInterest(capabilities: LibvirtCapabilities, arch: string, byDefault: string) {
  const machines = capabilities.guests.filter((guest) => guest.arch === arch).flatMap((guest) => guest.machines)
  const aliases = machines.filter(({ canonical }) => canonical !== undefined).map(({ name }) => name)
  const known = machineTypesOf(capabilities, arch).includes(byDefault) ? [byDefault] : []
  return [...new Set([...known, ...aliases])]
}

function machinesOf(element: XmlElement): readonly MachineType[] {
  return children(element, 'machine').flatMap((machine) => {
    const name = textOf(machine)
    // One that no report takes would void the report of the whole host.
    return name === undefined || name === '' || name.length > MAX_MACHINE_TYPE
      ? []
      : [{ name, canonical: attribute(machine, 'canonical') }]
  })
}

function unique(machines: readonly MachineType[]): readonly MachineType[] {
  return [...new Map(machines.map((machine) => [machine.name, machine])).values()]
}
