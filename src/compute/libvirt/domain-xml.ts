import { create } from 'xmlbuilder2'
import { InvalidDomainXml } from '../../errors.ts'
import type { DomainMetadata, DomainSpec, LaunchSecurity, VirtioDevice } from './domain-spec.ts'

/** Namespace of what we write into a domain's metadata. */
const METADATA_NAMESPACE = 'urn:sevbus:instance:1'

/** xmlbuilder2's form of an element: `@name` is an attribute, `#` the text; undefined members are left out. */
type Element = { readonly [name: string]: unknown }

/**
 * Writes a domain as libvirt's document, elements in the order of its documentation. The library escapes, here only.
 *
 * @throws InvalidDomainXml when a value has characters that XML cannot carry
 */
export function domainXml(domain: DomainSpec): string {
  try {
    return create({ domain: domainElement(domain) }).end({ wellFormed: true, prettyPrint: true, headless: true })
  } catch (error) {
    throw new InvalidDomainXml(
      `domain ${domain.name} cannot be written as XML: ${(error as Error).message}`,
      { instance_uuid: domain.uuid, fix: 'remove control characters from names and properties' },
      { cause: error },
    )
  }
}

function domainElement(domain: DomainSpec): Element {
  return withoutUndefined({
    '@type': 'kvm',
    name: domain.name,
    uuid: domain.uuid,
    metadata: metadataElement(domain.metadata),
    memory: { '@unit': 'MiB', '#': domain.memoryMib },
    currentMemory: { '@unit': 'MiB', '#': domain.memoryMib },
    memoryBacking: domain.memoryLocked ? { locked: {} } : undefined,
    vcpu: { '@placement': 'static', '#': domain.vcpus },
    os: osElement(domain),
    features: withoutUndefined({
      acpi: {},
      apic: {},
      vmcoreinfo: domain.vmcoreinfo ? { '@state': 'on' } : undefined,
    }),
    cpu: { '@mode': 'host-model', '@check': 'partial' },
    clock: { '@offset': 'utc' },
    on_poweroff: 'destroy',
    on_reboot: 'restart',
    on_crash: 'destroy',
    devices: devicesElement(domain),
    launchSecurity: domain.launchSecurity && launchSecurityElement(domain.launchSecurity),
  })
}

function metadataElement({ encryption, ...guest }: DomainMetadata): Element {
  return {
    'sevbus:instance': withoutUndefined({
      '@xmlns:sevbus': METADATA_NAMESPACE,
      'sevbus:name': guest.instanceName,
      'sevbus:owner': withoutUndefined({ '@project': guest.projectId, '@user': guest.userId }),
      'sevbus:flavor': { '@name': guest.flavorName },
      'sevbus:image': withoutUndefined({ '@id': guest.imageId, '@name': guest.imageName }),
      'sevbus:memEncryption': encryption
        ? { '@model': encryption.model, '@policy': encryption.policy, '@requestedBy': encryption.requested_by }
        : { '@model': 'none' },
    }),
  }
}

/** Secure boot is off by name, so that libvirt may pick a firmware built for SEV, which has none. */
function osElement({ os }: DomainSpec): Element {
  const type = { '@arch': os.arch, '@machine': os.machine, '#': 'hvm' }
  if (os.firmware === 'bios') return { type }
  return withoutUndefined({
    '@firmware': 'efi',
    type,
    firmware: { feature: { '@enabled': 'no', '@name': 'secure-boot' } },
    loader: os.stateless ? { '@stateless': 'yes' } : undefined,
  })
}

function devicesElement(domain: DomainSpec): Element {
  return withoutUndefined({
    disk: domain.disks.map((disk) => ({
      '@type': 'file',
      '@device': 'disk',
      driver: { '@name': 'qemu', '@type': 'qcow2', '@cache': 'none', ...iommuAttribute(disk) },
      source: { '@file': disk.file },
      target: { '@dev': disk.target, '@bus': disk.bus },
      ...(disk.role === 'root' && { boot: { '@order': 1 } }),
    })),
    controller: domain.controllers.map(({ type, index, model, iommu }) =>
      withoutUndefined({ '@type': type, '@index': index, '@model': model, driver: driverElement({ iommu }) }),
    ),
    interface: domain.interfaces.map(({ mac, network, model, iommu }) =>
      withoutUndefined({
        '@type': 'network',
        mac: { '@address': mac },
        source: { '@network': network },
        model: { '@type': model },
        driver: driverElement({ iommu }),
      }),
    ),
    serial: { '@type': 'pty', log: { '@file': domain.serial.logFile, '@append': 'off' }, target: { '@port': 0 } },
    console: { '@type': 'pty', target: { '@type': 'serial', '@port': 0 } },
    channel: domain.guestAgent
      ? { '@type': 'unix', target: { '@type': 'virtio', '@name': 'org.qemu.guest_agent.0' } }
      : undefined,
    video: withoutUndefined({
      driver: driverElement(domain.video),
      model: { '@type': domain.video.model, '@heads': 1, '@primary': 'yes' },
    }),
    memballoon: withoutUndefined({
      '@model': 'virtio',
      driver: driverElement(domain.memballoon),
      stats: { '@period': domain.memballoon.statsPeriodSeconds },
    }),
    rng: withoutUndefined({
      '@model': 'virtio',
      driver: driverElement(domain.rng),
      backend: { '@model': 'random', '#': domain.rng.source },
    }),
  })
}

/** libvirt reads `<policy>` in base 16 always; with the prefix nobody else is misled. */
function launchSecurityElement(security: LaunchSecurity): Element {
  if (security.type === 'sev-snp') {
    return { '@type': 'sev-snp', '@authorKey': 'no', '@vcek': 'yes', '@kernelHashes': 'no', policy: security.policy }
  }
  const { cbitpos, reducedPhysBits, policy } = security
  return withoutUndefined({ '@type': 'sev', cbitpos, reducedPhysBits, policy })
}

function driverElement(device: VirtioDevice): Element | undefined {
  return device.iommu ? iommuAttribute(device) : undefined
}

function iommuAttribute({ iommu }: VirtioDevice): Element {
  return iommu ? { '@iommu': 'on' } : {}
}

function withoutUndefined(element: Element): Element {
  return Object.fromEntries(Object.entries(element).filter(([, value]) => value !== undefined))
}
