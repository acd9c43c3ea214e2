import { create } from 'xmlbuilder2'
import { InvalidDomainXml } from '../../errors.ts'
import {
  controllerElement,
  diskElement,
  filesystemElement,
  graphicsElement,
  inputElement,
  interfaceElement,
  memballoonElement,
  rngElement,
  serialElement,
  videoElement,
  vsockElement,
} from './device-elements.ts'
import type { CpuSpec, DomainMetadata, DomainSpec, LaunchSecurity, MemoryBackingSpec } from './domain-spec.ts'
import { remembered } from './remembered.ts'
import { type Element, withoutUndefined, written } from './xml-element.ts'

/** Namespace of what we write into a domain's metadata. */
export const METADATA_NAMESPACE = 'urn:sevbus:instance:1'

/**
 * What a guest orders that reboots itself, of whatever model; Nova says the same of all. QEMU cannot reset the processors
 * of SEV-ES and SEV-SNP guests and ends instead ("cpus are not resettable, terminating"), whatever is written here: a
 * libvirt that begins such guests anew does so for this word, others leave them shut off. `destroy` would forbid the first.
 */
const REBOOT = 'restart'

/**
 * Writes a domain as libvirt's document, elements in the order of its documentation.
 *
 * @throws InvalidDomainXml when a value has characters that XML cannot carry
 */
export function domainXml(domain: DomainSpec): string {
  return xmlOf({ domain: domainElement(domain) }, `domain ${domain.name}`, domain.uuid)
}

/**
 * The one place that writes XML: xmlbuilder2 does, each shape of a document once, and what differs from guest to guest is put where
 * the library has put its marks.
 *
 * @param what names the document in errors
 * @throws InvalidDomainXml
 */
export function xmlOf(document: Element, what: string, instanceUuid: string): string {
  try {
    return filledIn(written(document))
  } catch (error) {
    throw new InvalidDomainXml(
      `${what} cannot be written as XML: ${(error as Error).message}`,
      { instance_uuid: instanceUuid, fix: 'remove control characters from names and properties' },
      { cause: error },
    )
  }
}

/** Values that are written as they are, wherever they stand. */
const WORD = /^[\w.:/-]+$/
/** Around the number of a value: for private use, so that nobody writes it (and who does has his document written as a whole). */
const MARK = '\ue000'
const MARKED = new RegExp(`${MARK}(\\d+)${MARK}`)
const SHAPES_KEPT = 64

/** Text, number of a value, text, number of a value, …, text. */
const piecesOf = remembered((shape) => writtenByLibrary(JSON.parse(shape)).split(MARKED), SHAPES_KEPT)

function filledIn(tree: unknown): string {
  const words: string[] = []
  const pieces = piecesOf(shapeOf(tree, words))
  if (pieces.length !== 2 * words.length + 1) return writtenByLibrary(tree)
  let text = pieces[0] as string
  for (let n = 1; n < pieces.length; n += 2) text += `${words[Number(pieces[n])]}${pieces[n + 1]}`
  return text
}

/** The tree as JSON, with the number of each word in its place; by JSON's own replacer it takes several times as long. */
function shapeOf(value: unknown, words: string[]): string {
  if (typeof value === 'number' || (typeof value === 'string' && WORD.test(value)))
    return `"${MARK}${words.push(String(value)) - 1}${MARK}"`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  if (Array.isArray(value)) return `[${value.map((item) => shapeOf(item, words)).join()}]`
  let members = ''
  for (const name in value) {
    const member = (value as Element)[name]
    if (member !== undefined) members += `${members && ','}${JSON.stringify(name)}:${shapeOf(member, words)}`
  }
  return `{${members}}`
}

function writtenByLibrary(tree: unknown): string {
  return create(tree as object).end({ prettyPrint: true, headless: true })
}

function domainElement(domain: DomainSpec): Element {
  return withoutUndefined({
    '@type': domain.virtType,
    name: domain.name,
    uuid: domain.uuid,
    metadata: metadataElement(domain.metadata),
    memory: { '@unit': 'MiB', '#': domain.memoryMib },
    currentMemory: { '@unit': 'MiB', '#': domain.memoryMib },
    memoryBacking: memoryBackingElement(domain.memoryBacking),
    vcpu: { '@placement': 'static', '#': domain.vcpus },
    os: osElement(domain),
    features: withoutUndefined({
      acpi: {},
      apic: {},
      vmcoreinfo: domain.vmcoreinfo ? { '@state': 'on' } : undefined,
    }),
    cpu: domain.cpu && cpuElement(domain.cpu),
    clock: { '@offset': 'utc' },
    on_poweroff: 'destroy',
    on_reboot: REBOOT,
    on_crash: 'destroy',
    devices: devicesElement(domain),
    launchSecurity: domain.launchSecurity && launchSecurityElement(domain.launchSecurity),
  })
}

/** Asked for and not to be had, it is refused at the start: `partial` has libvirt look before QEMU does. */
function cpuElement(cpu: CpuSpec): Element {
  if (cpu.mode === 'custom') {
    return {
      '@mode': cpu.mode,
      '@match': 'exact',
      '@check': 'partial',
      model: { '@fallback': 'forbid', '#': cpu.model },
    }
  }
  return { '@mode': cpu.mode, '@check': cpu.mode === 'host-model' ? 'partial' : 'none' }
}

function metadataElement({ encryption, sha256, ...guest }: DomainMetadata): Element {
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
      'sevbus:definition': sha256 === undefined ? undefined : { '@sha256': sha256 },
    }),
  }
}

function memoryBackingElement({ locked, hugepages, shared }: MemoryBackingSpec): Element | undefined {
  if (!locked && hugepages === undefined && !shared) return undefined
  const page = typeof hugepages === 'object' ? { page: { '@size': hugepages.kib, '@unit': 'KiB' } } : {}
  return withoutUndefined({
    hugepages: hugepages && page,
    locked: locked ? {} : undefined,
    // Huge pages are files already, which others can map.
    source: shared && hugepages === undefined ? { '@type': 'memfd' } : undefined,
    access: shared ? { '@mode': 'shared' } : undefined,
  })
}

/** Secure boot is off by name, so that libvirt may pick a firmware built for SEV, which has none. */
function osElement({ os: { arch, machine, firmware } }: DomainSpec): Element {
  const type = { '@arch': arch, '@machine': machine, '#': 'hvm' }
  switch (firmware.kind) {
    case 'bios':
      return { type }
    case 'efi':
      return withoutUndefined({
        '@firmware': 'efi',
        type,
        firmware: { feature: { '@enabled': 'no', '@name': 'secure-boot' } },
        loader: firmware.stateless ? { '@stateless': 'yes' } : undefined,
      })
    case 'files': {
      const { loader, nvram } = firmware
      const stateless = nvram === undefined ? { '@stateless': 'yes' } : {}
      return withoutUndefined({
        type,
        loader: { '@readonly': 'yes', '@type': 'pflash', ...stateless, '#': loader },
        nvram: nvram && { '@template': nvram.template, '#': nvram.file },
      })
    }
    case 'rom':
      // A ROM has no variables to keep: `stateless` is for flash.
      return { type, loader: { '@type': 'rom', '#': firmware.loader } }
    default:
      return firmware satisfies never
  }
}

function devicesElement(domain: DomainSpec): Element {
  return withoutUndefined({
    disk: domain.disks.map(diskElement),
    controller: domain.controllers.map(controllerElement),
    filesystem: domain.filesystems.map(filesystemElement),
    interface: domain.interfaces.map(interfaceElement),
    serial: serialElement(domain.serial),
    // libvirt makes one of a serial port by itself; of a terminal it always was written down.
    console: domain.serial.tcp ? undefined : { '@type': 'pty', target: { '@type': 'serial', '@port': 0 } },
    channel: domain.guestAgent
      ? { '@type': 'unix', target: { '@type': 'virtio', '@name': 'org.qemu.guest_agent.0' } }
      : undefined,
    input: domain.inputs.map(inputElement),
    graphics: domain.graphics && graphicsElement(domain.graphics),
    video: videoElement(domain.video),
    memballoon: memballoonElement(domain.memballoon),
    rng: domain.rng && rngElement(domain.rng),
    vsock: domain.vsock && vsockElement(domain.vsock),
  })
}

/** libvirt reads `<policy>` in base 16 always; with the prefix nobody else is misled. */
function launchSecurityElement({ type, cbitpos, reducedPhysBits, policy }: LaunchSecurity): Element {
  const ofSnp = type === 'sev-snp' ? { '@authorKey': 'no', '@vcek': 'yes', '@kernelHashes': 'no' } : {}
  return withoutUndefined({ '@type': type, ...ofSnp, cbitpos, reducedPhysBits, policy })
}
