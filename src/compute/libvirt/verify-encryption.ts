import { MEM_ENCRYPTION_MODELS, type MemEncryption } from '../../objects/mem-encryption.ts'
import type { GuestLaunch } from '../virt-driver.ts'
import { parseDomain } from './parse-domain.ts'
import { attribute, child, textOf } from './parse-xml.ts'

/**
 * Does the guest that runs have the encryption that was ordered? The order is no proof: libvirt drops what it does not know
 * from a document that it does not validate, and its own document is what it has told QEMU. So both must say it, the live
 * document, and QEMU.
 *
 * @param liveXml of the running domain
 * @returns why not, or undefined
 * @throws InvalidDomainXml
 */
export function encryptionFlaw(liveXml: string, launch: GuestLaunch, expected: Expected): string | undefined {
  return documentFlaw(liveXml, expected) ?? launchFlaw(launch, expected)
}

/** SEV-ES differs from SEV by its policy alone. */
export type Expected = Pick<MemEncryption, 'model' | 'policy'>

function documentFlaw(liveXml: string, expected: Expected): string | undefined {
  const { launchSecurityType, locksMemory } = MEM_ENCRYPTION_MODELS[expected.model]
  const domain = parseDomain(liveXml)
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

function launchFlaw(launch: GuestLaunch, expected: Expected): string | undefined {
  if (!launch.isEncrypted) return `it was not launched so: ${launch.why}`
  if (launch.policy === undefined || launch.policy === hexadecimal(expected.policy)) return undefined
  return `it was launched with policy 0x${launch.policy.toString(16)}, not ${expected.policy}`
}

/** libvirt reads and writes policies in base 16, with the prefix or without. */
function hexadecimal(text: string): number {
  return /^(0x)?[0-9a-f]{1,8}$/i.test(text.trim()) ? Number.parseInt(text.trim(), 16) : Number.NaN
}
