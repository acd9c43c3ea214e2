import { type MemEncryptionModel, SEV_POLICY } from '../../objects/mem-encryption.ts'
import { parseDomain } from './parse-domain.ts'
import { attribute, child, textOf, type XmlElement } from './parse-xml.ts'

/**
 * The model that a domain document orders or has; undefined: in clear.
 * @throws InvalidDomainXml
 */
export function modelOf(domainXml: string): MemEncryptionModel | undefined {
  return modelOfDomain(parseDomain(domainXml))
}

export function modelOfDomain(domain: XmlElement): MemEncryptionModel | undefined {
  const security = child(domain, 'launchSecurity')
  const type = attribute(security, 'type')
  if (type === 'sev-snp') return 'amd-sev-snp'
  if (type !== 'sev') return undefined
  const policy = Number.parseInt(textOf(child(security, 'policy')) ?? '', 16)
  return policy & SEV_POLICY.ES ? 'amd-sev-es' : 'amd-sev'
}
