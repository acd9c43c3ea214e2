import { type MemEncryptionModel, SEV_POLICY } from '../../objects/mem-encryption.ts'
import { attribute, child, parseXml, textOf } from './parse-xml.ts'

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
  return policy & SEV_POLICY.ES ? 'amd-sev-es' : 'amd-sev'
}
