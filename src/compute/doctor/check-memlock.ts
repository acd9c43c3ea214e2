import { largestGuest } from './doctor-options.ts'
import type { Examination } from './examination.ts'
import { type Finding, fail, pass, skip, warn } from './finding.ts'
import { unknown } from './reading.ts'

const MEMLOCK = { check: 'memlock', title: 'locked memory' }
const BYTES_PER_MIB = 1024 ** 2

const FIX =
  'give the daemon CAP_SYS_RESOURCE (a container: --cap-add SYS_RESOURCE), or LimitMEMLOCK=infinity: systemctl edit libvirtd'

/**
 * SEV and SEV-ES guests lock their memory: libvirt lifts the limit of each QEMU, where it may. Its own limit alone does not
 * tell: the weakest daemon counts, for which of several listens where is not seen from outside.
 */
export function checkMemlock({ host: { daemons, hypervisor }, options }: Examination): Finding {
  if (!('documents' in hypervisor)) return skip(MEMLOCK, 'not judged', 'libvirt does not answer')
  if (daemons.state !== 'read') {
    return unknown(MEMLOCK, daemons, 'start libvirt on this machine, or set libvirt.host_root; run as root')
  }
  const [weakest, ...others] = daemons.value.toSorted((a, b) => strength(a) - strength(b))
  if (weakest === undefined) return unknown(MEMLOCK, { state: 'absent', path: 'virtqemud or libvirtd' }, FIX)
  const who = `${weakest.name} (${weakest.pid})${others.length > 0 ? `, the weakest of ${others.length + 1}` : ''}`
  const limit = weakest.memlockBytes === Number.POSITIVE_INFINITY ? 'none' : `${mib(weakest.memlockBytes)} MiB`
  const value = `limit of ${who}: ${limit}`
  if (weakest.mayRaiseLimits)
    return pass(MEMLOCK, value, 'it may raise limits, and lifts that of each guest that locks')
  if (weakest.memlockBytes === Number.POSITIVE_INFINITY)
    return pass(MEMLOCK, value, 'its guests may lock all they have')
  const needed = neededMb(options)
  if (needed === undefined) {
    return warn(MEMLOCK, value, 'it may not raise limits: larger guests with SEV or SEV-ES do not start', FIX)
  }
  return mib(weakest.memlockBytes) < needed
    ? fail(MEMLOCK, value, `it may not raise limits, and the largest guest needs ${needed} MiB: it does not start`, FIX)
    : pass(MEMLOCK, value, `enough for the largest guest, which needs ${needed} MiB`)
}

function strength({ mayRaiseLimits, memlockBytes }: { mayRaiseLimits: boolean; memlockBytes: number }): number {
  return mayRaiseLimits ? Number.POSITIVE_INFINITY : memlockBytes
}

/** SEV-SNP locks nothing. */
function neededMb(options: Examination['options']): number | undefined {
  const sizes = (['amd-sev', 'amd-sev-es'] as const).flatMap((model) => largestGuest(model, options)?.memoryMb ?? [])
  return sizes.length > 0 ? Math.max(...sizes) + options.overheadMb : undefined
}

function mib(bytes: number): number {
  return Math.floor(bytes / BYTES_PER_MIB)
}
