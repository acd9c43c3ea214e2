import type { GuestLaunch } from '../../virt-driver.ts'
import type { TypedValue } from '../rpc/typed-param.ts'

/**
 * What libvirt passes on of QEMU's `query-sev` and `query-sev-launch-measure`. Source: virDomainGetLaunchSecurityInfo; libvirt
 * tells policies since 8.0, and before that the measurement alone, which QEMU has of encrypted guests only.
 */
export function guestLaunch(info: Readonly<Record<string, TypedValue>>): GuestLaunch {
  const policy = info['sev-snp-policy'] ?? info['sev-policy']
  if (policy !== undefined) return { isEncrypted: true, policy: Number(policy) }
  if (info['sev-measurement'] !== undefined) return { isEncrypted: true, policy: undefined }
  return { isEncrypted: false, why: 'libvirt tells nothing of its launch' }
}
