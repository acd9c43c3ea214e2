import { HostCapabilityMissing, SpawnFailed } from '../../errors.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { canRun, type HostCapabilities } from '../libvirt/host-capabilities.ts'
import { modelOfDomain } from '../libvirt/model-of.ts'
import { parseDomain } from '../libvirt/parse-domain.ts'
import { attribute, child, children, textOf, type XmlElement } from '../libvirt/parse-xml.ts'

/** What the simulated hypervisor understood of a document. */
export interface Definition {
  readonly uuid: string
  /** Undefined: in clear. */
  readonly model: MemEncryptionModel | undefined
  /** Those of its own; volumes are somebody else's, and there. */
  readonly diskFiles: readonly string[]
}

/**
 * Reads a domain document as libvirt and QEMU together would take it, refusals included.
 *
 * @throws InvalidDomainXml, SpawnFailed; HostCapabilityMissing when this host cannot do what it asks
 */
export function readDefinition(xml: string, host: HostCapabilities): Definition {
  const domain = parseDomain(xml)
  const uuid = textOf(child(domain, 'uuid'))
  if (uuid === undefined) throw new SpawnFailed('the domain document has no uuid')
  const machine = attribute(child(domain, 'os', 'type'), 'machine') ?? ''
  if (!host.machineTypes.includes(machine)) {
    throw new HostCapabilityMissing(`unsupported configuration: Emulator does not support machine type '${machine}'`)
  }
  if (attribute(child(domain, 'os'), 'firmware') === 'efi' && !host.supportsUefi) {
    throw new HostCapabilityMissing("operation failed: Unable to find 'efi' firmware that is compatible")
  }
  const disks = children(child(domain, 'devices'), 'disk')
  return {
    uuid,
    model: launchModel(domain, host),
    diskFiles: disks
      .flatMap((disk) => attribute(child(disk, 'source'), 'file') ?? [])
      .filter((file) => file.includes(`/${uuid}/`)),
  }
}

function launchModel(domain: XmlElement, host: HostCapabilities): MemEncryptionModel | undefined {
  const security = child(domain, 'launchSecurity')
  if (security === undefined) return undefined
  if (!/^(0x)?[0-9a-f]+$/i.test(textOf(child(security, 'policy')) ?? '')) {
    throw new SpawnFailed('XML error: failed to get launch security policy')
  }
  const model = modelOfDomain(domain)
  if (model === undefined || !canRun(host, model)) {
    const type = attribute(security, 'type')
    throw new HostCapabilityMissing(
      `unsupported configuration: '${type}' launch security is not supported with this QEMU binary: ${model && host.missing[model]}`,
      { model },
    )
  }
  return model
}
