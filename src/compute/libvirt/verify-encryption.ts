import { MEM_ENCRYPTION_MODELS, type MemEncryption } from '../../objects/mem-encryption.ts'
import { attribute, child, parseXml, textOf } from './parse-xml.ts'

/**
 * Does the guest that runs have the encryption that was ordered? libvirt drops what it does not know from a document
 * that it does not validate, so the order is no proof; the live document is.
 *
 * @param liveXml of the running domain
 * @returns why not, or undefined
 * @throws InvalidDomainXml
 */
export function encryptionFlaw(liveXml: string, expected: MemEncryption): string | undefined {
  const { launchSecurityType, locksMemory } = MEM_ENCRYPTION_MODELS[expected.model]
  const domain = parseXml(liveXml, 'domain', 'the live domain')
  const security = child(domain, 'launchSecurity')
  if (security === undefined) return 'it runs without launchSecurity'
  const type = attribute(security, 'type')
  if (type !== launchSecurityType) return `its launchSecurity is of type ${type}, not ${launchSecurityType}`
  const policy = textOf(child(security, 'policy'))
  if (policy === undefined || hexadecimal(policy) !== hexadecimal(expected.policy)) {
    return `its policy is ${policy}, not ${expected.policy}`
  }
  if (locksMemory && child(domain, 'memoryBacking', 'locked') === undefined) return 'its memory is not locked'
  return undefined
}

/** libvirt reads and writes policies in base 16, with the prefix or without. */
function hexadecimal(text: string): number {
  return /^(0x)?[0-9a-f]{1,8}$/i.test(text.trim()) ? Number.parseInt(text.trim(), 16) : Number.NaN
}
