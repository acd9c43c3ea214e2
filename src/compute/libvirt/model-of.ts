import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { attribute, child, parseXml, textOf } from './parse-xml.ts'

/** Bit 2 of a SEV policy. Source: AMD SEV-KM API specification, "Guest Policy". */
const POLICY_ES = 0x04

/**
 * The model that a domain document orders or has; undefined: in clear.
 * @throws InvalidDomainXml
 */
export function modelOf(domainXml: string): MemEncryptionModel | undefined {
  const security = child(parseXml(domainXml, 'domain', 'the domain'), 'launchSecurity')
  const type = attribute(security, 'type')
  if (type === 'sev-snp') return 'amd-sev-snp'
  if (type !== 'sev') return undefined
  const policy = Number.parseInt(textOf(child(security, 'policy')) ?? '', 16)
  return policy & POLICY_ES ? 'amd-sev-es' : 'amd-sev'
}
