import { type DiskSpec, type InterfaceSpec, RESCUE_DISK } from './domain-spec.ts'
import { parseDomain } from './parse-domain.ts'
import { attribute, child, children } from './parse-xml.ts'

/** What is plugged into a guest, or out of it, as it is or is to be in its document. */
export type PluggedDevice =
  | { readonly kind: 'disk'; readonly disk: DiskSpec }
  | { readonly kind: 'interface'; readonly interface: InterfaceSpec }

/** The name of the disk with this file in a guest's document; undefined: it has none. @throws InvalidDomainXml */
export function targetOf(xml: string, { file }: Pick<DiskSpec, 'file'>): string | undefined {
  const disks = children(child(parseDomain(xml), 'devices'), 'disk')
  const disk = disks.find((each) => {
    const source = child(each, 'source')
    return attribute(source, 'file') === file || attribute(source, 'dev') === file
  })
  return attribute(child(disk, 'target'), 'dev')
}

/** Does the document have the device? @throws InvalidDomainXml */
export function isPlugged(xml: string, device: PluggedDevice): boolean {
  if (device.kind === 'disk') return targetOf(xml, device.disk) !== undefined
  const interfaces = children(child(parseDomain(xml), 'devices'), 'interface')
  return interfaces.some((each) => attribute(child(each, 'mac'), 'address')?.toLowerCase() === device.interface.mac)
}

/** Is the guest booted from another disk than its own? */
export function isRescued(xml: string): boolean {
  const disks = children(child(parseDomain(xml), 'devices'), 'disk')
  return disks.some((each) => attribute(child(each, 'source'), 'file')?.endsWith(`/${RESCUE_DISK}`) === true)
}

/** Has the guest that runs a controller for disks on SCSI? */
export function hasScsiController(xml: string): boolean {
  const controllers = children(child(parseDomain(xml), 'devices'), 'controller')
  return controllers.some((each) => attribute(each, 'type') === 'scsi')
}
