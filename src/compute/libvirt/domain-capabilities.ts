import { attribute, child, children, parseXml, textOf, type XmlElement } from './parse-xml.ts'

/** Placement's largest amount: a limit that is there and not known ("don't impose any limit", the spec). */
export const UNKNOWN_SLOTS = 2_147_483_647
const ADDRESS_BITS = 64
/** Names in capabilities are short; what is longer is none. */
const MAX_NAME = 255

/** What libvirt tells about one machine type of one emulator (`virConnectGetDomainCapabilities`). */
export interface DomainCapabilities {
  readonly arch: string | undefined
  /** Canonical name: `pc-q35-7.2`. */
  readonly machine: string | undefined
  /** Kinds of firmware that libvirt can pick by itself. */
  readonly firmware: readonly string[]
  /** Buses that disks can be on; undefined: the document does not tell. */
  readonly diskBuses: readonly string[] | undefined
  readonly sev: SevCapabilities
  /** Values of `sectype`; libvirt reports them since 10.5, before that undefined. */
  readonly launchSecurityTypes: readonly string[] | undefined
}

export interface SevCapabilities {
  readonly supported: boolean
  readonly cbitpos: number | undefined
  readonly reducedPhysBits: number | undefined
  /** Guests with SEV but not SEV-ES; libvirt reports it since 8.0. */
  readonly maxGuests: number | undefined
  /** Guests with SEV-ES or SEV-SNP, which draw on the same keys. */
  readonly maxEsGuests: number | undefined
}

/** @throws InvalidDomainXml when it is no such document; what is merely absent is undefined */
export function parseDomainCapabilities(xml: string): DomainCapabilities {
  const root = parseXml(xml, 'domainCapabilities', 'the domain capabilities')
  const launchSecurity = child(root, 'features', 'launchSecurity')
  return {
    arch: textOf(child(root, 'arch')),
    machine: textOf(child(root, 'machine')),
    firmware: enumValues(child(root, 'os'), 'firmware') ?? [],
    diskBuses: enumValues(child(root, 'devices', 'disk'), 'bus'),
    sev: sevCapabilities(child(root, 'features', 'sev')),
    launchSecurityTypes: isSupported(launchSecurity) ? enumValues(launchSecurity, 'sectype') : undefined,
  }
}

function sevCapabilities(sev: XmlElement | undefined): SevCapabilities {
  return {
    supported: isSupported(sev),
    cbitpos: addressBit(child(sev, 'cbitpos')),
    reducedPhysBits: addressBit(child(sev, 'reducedPhysBits')),
    maxGuests: guests(child(sev, 'maxGuests')),
    maxEsGuests: guests(child(sev, 'maxESGuests')),
  }
}

function isSupported(element: XmlElement | undefined): boolean {
  return attribute(element, 'supported') === 'yes'
}

function enumValues(element: XmlElement | undefined, name: string): readonly string[] | undefined {
  const found = children(element, 'enum').find((candidate) => attribute(candidate, 'name') === name)
  if (found === undefined) return undefined
  const values = children(found, 'value').flatMap((value) => textOf(value) ?? [])
  return values.filter((value) => value !== '' && value.length <= MAX_NAME)
}

/** libvirt's number has 32 bits, an inventory's 31: what is beyond is no limit that anybody would meet. */
function guests(element: XmlElement | undefined): number | undefined {
  const found = count(element)
  return found === undefined ? undefined : Math.min(found, UNKNOWN_SLOTS)
}

function addressBit(element: XmlElement | undefined): number | undefined {
  const found = count(element)
  return found !== undefined && found < ADDRESS_BITS ? found : undefined
}

/** A number that makes no sense counts as absent: an odd host loses its slots, not its worker. */
function count(element: XmlElement | undefined): number | undefined {
  const text = textOf(element)
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined
  return Number(text)
}
