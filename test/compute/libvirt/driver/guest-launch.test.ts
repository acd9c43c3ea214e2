import { describe, expect, it } from 'vitest'
import { guestLaunch } from '../../../../src/compute/libvirt/driver/guest-launch.ts'

describe('how libvirt says that a guest was launched', () => {
  it.each([
    ['SEV', { 'sev-measurement': 'wr9E', 'sev-api-major': 0, 'sev-policy': 51 }, { isEncrypted: true, policy: 0x33 }],
    ['SEV-SNP, whose policy is a long one', { 'sev-snp-policy': 0x30000n }, { isEncrypted: true, policy: 0x3_0000 }],
    ['SEV, before libvirt 8.0', { 'sev-measurement': 'wr9E' }, { isEncrypted: true, policy: undefined }],
    ['in clear', {}, { isEncrypted: false, why: 'libvirt tells nothing of its launch' }],
  ])('%s', (_, info, launch) => {
    expect(guestLaunch(info)).toEqual(launch)
  })
})
