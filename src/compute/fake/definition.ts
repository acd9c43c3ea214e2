import { HostCapabilityMissing, SpawnFailed } from '../../errors.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { HostCapabilities } from '../libvirt/host-capabilities.ts'
import { attribute, child, children, parseXml, textOf, type XmlElement } from '../libvirt/parse-xml.ts'

/** Bit 2 of a SEV policy. Source: AMD SEV-KM API specification, "Guest Policy". */
const POLICY_ES = 0x04

/** What the simulated hypervisor understood of a document. */
export interface Definition {
  readonly uuid: string
  /** Undefined: in clear. */
  readonly model: MemEncryptionModel | undefined
  readonly diskFiles: readonly string[]
}

/**
 * Reads a domain document as libvirt and QEMU together would take it, refusals included.
 *
 * @throws InvalidDomainXml, SpawnFailed; HostCapabilityMissing when this host cannot do what it asks
 */
export function readDefinition(xml: string, host: HostCapabilities): Definition {
  const domain = parseXml(xml, 'domain', 'the domain')
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
    model: launchModel(child(domain, 'launchSecurity'), host),
    diskFiles: disks.flatMap((disk) => attribute(child(disk, 'source'), 'file') ?? []),
  }
}

function launchModel(security: XmlElement | undefined, host: HostCapabilities): MemEncryptionModel | undefined {
  if (security === undefined) return undefined
  const type = attribute(security, 'type')
  const policy = Number.parseInt(textOf(child(security, 'policy')) ?? '', 16)
  if (Number.isNaN(policy)) throw new SpawnFailed('XML error: failed to get launch security policy')
  const model = type === 'sev-snp' ? 'amd-sev-snp' : policy & POLICY_ES ? 'amd-sev-es' : 'amd-sev'
  if (host.slots[model] === undefined) {
    throw new HostCapabilityMissing(
      `unsupported configuration: '${type}' launch security with policy 0x${policy.toString(16)} is not supported here: ${host.missing[model]}`,
      { model },
    )
  }
  return model
}
