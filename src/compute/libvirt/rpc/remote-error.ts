import { LibvirtError } from '../../../errors.ts'
import { type Codec, int, optional, struct, text, uuid } from './codec.ts'

/** Numbers of virErrorNumber that decisions hang on, all seen from libvirt 9.0. Source: libvirt/virterror.h, append-only */
export const VIR_ERR = {
  /** What QEMU says when it does not start comes as this, and only its text tells more. */
  internalError: 1,
  /** The driver, or the daemon, does not have the function. */
  noSupport: 3,
  invalidArg: 8,
  operationFailed: 9,
  xmlError: 27,
  systemError: 38,
  noDomain: 42,
  noNetwork: 43,
  operationInvalid: 55,
  configUnsupported: 67,
  /** The domain is at something else, and was not asked. */
  operationTimeout: 68,
  operationUnsupported: 84,
  xmlInvalidSchema: 92,
  /** What is to be taken out of a guest is not in it. */
  deviceMissing: 99,
} as const

const reference = struct({ name: text, uuid, id: int })
const networkReference = struct({ name: text, uuid })

interface RemoteError {
  readonly code: number
  readonly domain: number
  readonly message: string | undefined
  readonly level: number
}

/** Source: virNetMessageError in src/rpc/virnetprotocol.x; `dom` and `net` are not used any more, but still come. */
export const remoteError: Codec<RemoteError> = struct({
  code: int,
  domain: int,
  message: optional(text),
  level: int,
  dom: optional(reference),
  str1: optional(text),
  str2: optional(text),
  str3: optional(text),
  int1: int,
  int2: int,
  net: optional(networkReference),
}) as Codec<RemoteError>

/** @param call libvirt's name of it */
export function libvirtError(call: string, { code, domain, message, level }: RemoteError): LibvirtError {
  const facts = { call, libvirt_code: code, libvirt_domain: domain, libvirt_level: level }
  return new LibvirtError(message ?? `${call}: libvirt says error ${code} of domain ${domain}, and no more`, facts)
}

/** Whether libvirt has refused with this number. */
export function isLibvirtError(error: unknown, code: (typeof VIR_ERR)[keyof typeof VIR_ERR]): boolean {
  return error instanceof LibvirtError && error.details.libvirt_code === code
}
