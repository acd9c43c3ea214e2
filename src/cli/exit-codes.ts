import type { SevbusError } from '../errors.ts'

/** What scripts can rely on; `sevbus --help` shows them. */
export const EXIT = {
  OK: 0,
  /** It was tried and failed; `doctor`: a check of the host fails. */
  FAILED: 1,
  /** Wrong words, file or configuration: nothing was tried. */
  USAGE: 2,
  /** No broker, database or worker answered. */
  UNREACHABLE: 3,
  /** There is no such instance, host, aggregate, group, guest or dead letter. */
  NOT_FOUND: 4,
  /** The cloud said no, or would: a contradiction in the request, or no host for it. */
  REFUSED: 5,
  /** `audit`: something does not agree, and is not repaired; `bill`: something has no price, or does not agree. */
  FINDINGS: 6,
  /** Ended by Ctrl-C or SIGTERM before it was done. */
  INTERRUPTED: 130,
} as const

const BY_CODE: Readonly<Record<string, number>> = {
  INVALID_CONFIGURATION: EXIT.USAGE,
  TOPOLOGY_MISMATCH: EXIT.USAGE,
  INVALID_FILE: EXIT.USAGE,
  INVALID_ARGUMENTS: EXIT.USAGE,
  TRANSPORT_UNAVAILABLE: EXIT.UNREACHABLE,
  DATABASE_UNAVAILABLE: EXIT.UNREACHABLE,
  NO_SUCH_SERVER: EXIT.UNREACHABLE,
  MESSAGING_TIMEOUT: EXIT.UNREACHABLE,
  SERVER_LOST: EXIT.UNREACHABLE,
  INSTANCE_NOT_FOUND: EXIT.NOT_FOUND,
  GUEST_NOT_FOUND: EXIT.NOT_FOUND,
  DEAD_LETTER_NOT_FOUND: EXIT.NOT_FOUND,
  COMPUTE_HOST_NOT_FOUND: EXIT.NOT_FOUND,
  AGGREGATE_NOT_FOUND: EXIT.NOT_FOUND,
  INSTANCE_GROUP_NOT_FOUND: EXIT.NOT_FOUND,
  FLAVOR_IMAGE_CONFLICT: EXIT.REFUSED,
  INVALID_MACHINE_TYPE: EXIT.REFUSED,
  STATELESS_FIRMWARE_REQUIRED: EXIT.REFUSED,
  SECURE_BOOT_NOT_SUPPORTED: EXIT.REFUSED,
  FLAVOR_IMAGE_LOCKED_MEMORY_CONFLICT: EXIT.REFUSED,
  LOCK_MEMORY_FORBIDDEN: EXIT.REFUSED,
  MEMORY_PAGE_SIZE_INVALID: EXIT.REFUSED,
  MEMORY_PAGE_SIZE_FORBIDDEN: EXIT.REFUSED,
  FLAVOR_MEMORY_TOO_SMALL: EXIT.REFUSED,
  FLAVOR_DISK_TOO_SMALL: EXIT.REFUSED,
  HOST_CAPABILITY_MISSING: EXIT.REFUSED,
  INVALID_PROPERTY: EXIT.REFUSED,
  INSTANCE_EXISTS: EXIT.REFUSED,
  AGGREGATE_NAME_EXISTS: EXIT.REFUSED,
  INVALID_AGGREGATE_ACTION: EXIT.REFUSED,
  INSTANCE_INVALID_STATE: EXIT.REFUSED,
  COMPUTE_SERVICE_IN_USE: EXIT.REFUSED,
  NO_VALID_HOST: EXIT.REFUSED,
  MAX_RETRIES_EXCEEDED: EXIT.REFUSED,
}

export function exitCodeFor(error: SevbusError): number {
  return BY_CODE[error.code] ?? EXIT.FAILED
}
