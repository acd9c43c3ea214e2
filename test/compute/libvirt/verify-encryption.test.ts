import { describe, expect, it } from 'vitest'
import { encryptionFlaw } from '../../../src/compute/libvirt/verify-encryption.ts'
import type { MemEncryption } from '../../../src/objects/mem-encryption.ts'

const SEV: MemEncryption = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' }
const SNP: MemEncryption = { model: 'amd-sev-snp', policy: '0x00030000', requested_by: 'flavor' }
const LOCKED = '<memoryBacking><locked/></memoryBacking>'

function launchedWith(policy: string) {
  return { isEncrypted: true, policy: Number(policy) } as const
}

function live(content: string): string {
  return `<domain type='kvm' id='3'><name>x</name>${content}</domain>`
}

describe('the encryption of a running guest', () => {
  it.each([
    ['SEV', SEV, `${LOCKED}<launchSecurity type='sev'><policy>0x0033</policy></launchSecurity>`],
    ['SEV, written shorter', SEV, `${LOCKED}<launchSecurity type='sev'><policy>33</policy></launchSecurity>`],
    ['SEV-SNP, which locks nothing', SNP, "<launchSecurity type='sev-snp'><policy>0x30000</policy></launchSecurity>"],
  ])('is as ordered: %s', (_, expected, content) => {
    expect(encryptionFlaw(live(content), launchedWith(expected.policy), expected)).toBeUndefined()
  })

  it.each([
    ['it runs without launchSecurity', SEV, LOCKED],
    [
      'its launchSecurity is of type sev, not sev-snp',
      SNP,
      "<launchSecurity type='sev'><policy>0x00030000</policy></launchSecurity>",
    ],
    [
      'its policy is 0x0001, not 0x0033',
      SEV,
      `${LOCKED}<launchSecurity type='sev'><policy>0x0001</policy></launchSecurity>`,
    ],
    [
      'its policy is 0x0033zz, not 0x0033',
      SEV,
      `${LOCKED}<launchSecurity type='sev'><policy>0x0033zz</policy></launchSecurity>`,
    ],
    ['its policy is undefined, not 0x0033', SEV, `${LOCKED}<launchSecurity type='sev'/>`],
    ['its memory is not locked', SEV, "<launchSecurity type='sev'><policy>0x0033</policy></launchSecurity>"],
  ])('is not as ordered: %s', (flaw, expected, content) => {
    expect(encryptionFlaw(live(content), launchedWith(expected.policy), expected)).toBe(flaw)
  })

  const asOrdered = live(`${LOCKED}<launchSecurity type='sev'><policy>0x0033</policy></launchSecurity>`)

  it('is as ordered where libvirt knows that it was launched encrypted, and not by which policy', () => {
    expect(encryptionFlaw(asOrdered, { isEncrypted: true, policy: undefined }, SEV)).toBeUndefined()
  })

  it.each([
    ['it was launched with policy 0x1, not 0x0033', launchedWith('0x0001')],
    ['it was not launched so: domain is not running', { isEncrypted: false, why: 'domain is not running' } as const],
  ])('is not as ordered, whatever its document says: %s', (flaw, launch) => {
    expect(encryptionFlaw(asOrdered, launch, SEV)).toBe(flaw)
  })
})
