import { LibvirtError } from '../../../errors.ts'
import type { GuestLaunch } from '../../virt-driver.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'
import type { TypedValue } from '../rpc/typed-param.ts'

type LaunchSecurityInfo = Readonly<Record<string, TypedValue>>

/**
 * How a guest was launched, by QEMU's own answer, which libvirt passes on (virDomainGetLaunchSecurityInfo).
 *
 * @throws LibvirtError where QEMU was not asked: that says nothing of the guest, and another question may
 */
export async function guestLaunch(asked: Promise<LaunchSecurityInfo>): Promise<GuestLaunch> {
  try {
    return launchIn(await asked)
  } catch (error) {
    if (error instanceof LibvirtError && saysHowItIs(error)) return { isEncrypted: false, why: error.message }
    throw error
  }
}

/**
 * Of QEMU's `query-sev` and `query-sev-launch-measure`. libvirt tells policies since 8.0, and before that the measurement alone,
 * which QEMU has of encrypted guests only; of a guest whose document has no launchSecurity it tells nothing.
 */
function launchIn(info: LaunchSecurityInfo): GuestLaunch {
  const policy = info['sev-snp-policy'] ?? info['sev-policy']
  if (policy !== undefined) return { isEncrypted: true, policy: Number(policy) }
  if (info['sev-measurement'] !== undefined) return { isEncrypted: true, policy: undefined }
  return { isEncrypted: false, why: 'libvirt tells nothing of its launch' }
}

/** QEMU's refusals, as libvirt 9.0 to 11.3 passes them on: `unable to execute QEMU command 'query-sev-launch-measure': …` */
const QEMU_SAYS = /QEMU command '?query-sev|query-sev\S* (?:reply|command)/i
/**
 * What came to QEMU was not what libvirt had written: seen once, of `query-machines`, with libvirt 9.0 and QEMU 7.2.
 * Source: QEMU's `qobject/json-parser.c`, `qapi/qmp-dispatch.c`
 */
const NOT_UNDERSTOOD = /JSON parse error|QMP input/

/**
 * QEMU has said it, or there is nothing that could say it: the guest does not run, or is not here, or neither libvirt nor QEMU knows
 * such guests. All else (the monitor is lost, the question came broken, the daemon ends or has no memory, the guest is at something
 * else, the caller may not ask) is about whoever was asked.
 */
function saysHowItIs(error: LibvirtError): boolean {
  if (isLibvirtError(error, VIR_ERR.internalError))
    return QEMU_SAYS.test(error.message) && !NOT_UNDERSTOOD.test(error.message)
  if (isLibvirtError(error, VIR_ERR.operationInvalid)) return /is not (?:running|active)/.test(error.message)
  return [VIR_ERR.noDomain, VIR_ERR.noSupport, VIR_ERR.operationUnsupported].some((code) => isLibvirtError(error, code))
}
