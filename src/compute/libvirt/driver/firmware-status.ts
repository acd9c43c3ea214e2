/** What the AMD secure processor answers besides success, and what an operator does about it. */
export interface FirmwareStatus {
  /** AMD's name. */
  readonly name: string
  readonly meaning: string
  readonly fix: string
}

const REBOOT = 'reset the platform: stop the encrypted guests, unload and load kvm_amd, or reboot'
const UPDATE = 'update the SEV firmware (linux-firmware, amd/amd_sev_*.sbin) and the BIOS'
const REPORT = 'QEMU and the firmware do not understand each other: update QEMU, the kernel and the SEV firmware'
const FLUSH = 'update the kernel: it must flush caches and the data fabric before it uses an ASID again'

/**
 * Status codes of the firmware's commands, by number. Source: AMD, "Secure Encrypted Virtualization API" (55766), table
 * "Status Codes"; those from 0x20 on: "SEV-SNP Firmware ABI Specification" (56860).
 */
const STATUSES: Readonly<Record<number, FirmwareStatus>> = {
  1: { name: 'INVALID_PLATFORM_STATE', meaning: 'the platform is not initialised', fix: REBOOT },
  2: { name: 'INVALID_GUEST_STATE', meaning: 'the guest is in another state of its launch', fix: REPORT },
  3: {
    name: 'INVALID_CONFIG',
    meaning: 'the platform is not configured for it',
    fix: 'enable SME, SEV and, for SEV-ES, a number of ASIDs in the BIOS',
  },
  4: { name: 'INVALID_LEN', meaning: 'a buffer is too small, or a session is not for this platform', fix: REPORT },
  5: {
    name: 'ALREADY_OWNED',
    meaning: 'the platform has an owner already',
    fix: 'reset its certificates with sevctl',
  },
  6: {
    name: 'INVALID_CERTIFICATE',
    meaning: 'a certificate is not valid',
    fix: 'renew the platform certificates with sevctl',
  },
  7: {
    name: 'POLICY_FAILURE',
    meaning: 'the policy of the guest does not allow it, or the platform cannot keep it',
    fix: UPDATE,
  },
  8: { name: 'INACTIVE', meaning: 'the guest has no active ASID', fix: REPORT },
  9: { name: 'INVALID_ADDRESS', meaning: 'an address is not valid', fix: REPORT },
  10: { name: 'BAD_SIGNATURE', meaning: 'a signature is wrong', fix: 'renew the platform certificates with sevctl' },
  11: {
    name: 'BAD_MEASUREMENT',
    meaning: 'a measurement is wrong',
    fix: 'check the session that the guest began with',
  },
  12: { name: 'ASID_OWNED', meaning: 'the ASID belongs to another guest', fix: FLUSH },
  13: {
    name: 'INVALID_ASID',
    meaning: 'the ASID is beyond what the platform has',
    fix: 'check the split of ASIDs between SEV and SEV-ES in the BIOS',
  },
  14: { name: 'WBINVD_REQUIRED', meaning: 'caches must be flushed first', fix: FLUSH },
  15: { name: 'DFFLUSH_REQUIRED', meaning: 'the data fabric must be flushed first', fix: FLUSH },
  16: { name: 'INVALID_GUEST', meaning: 'the handle of the guest is not valid', fix: REPORT },
  17: { name: 'INVALID_COMMAND', meaning: 'the firmware does not know the command', fix: UPDATE },
  18: { name: 'ACTIVE', meaning: 'the guest is active already', fix: REPORT },
  19: { name: 'HWERROR_PLATFORM', meaning: 'the hardware failed; its data is safe', fix: REBOOT },
  20: {
    name: 'HWERROR_UNSAFE',
    meaning: 'the hardware failed; nothing is safe any more',
    fix: 'take the host out of service (sevbus host set --disable) and power it off',
  },
  21: { name: 'UNSUPPORTED', meaning: 'the firmware does not offer it', fix: UPDATE },
  22: { name: 'INVALID_PARAM', meaning: 'a parameter is not valid', fix: REPORT },
  23: {
    name: 'RESOURCE_LIMIT',
    meaning: 'the firmware has no room for another guest',
    fix: 'stop encrypted guests on this host, or offer fewer slots (compute.num_memory_encrypted_guests)',
  },
  24: { name: 'SECURE_DATA_INVALID', meaning: 'data that the firmware keeps is damaged', fix: REBOOT },
  25: { name: 'INVALID_PAGE_SIZE', meaning: 'a page has another size in the reverse map table', fix: REPORT },
  26: { name: 'INVALID_PAGE_STATE', meaning: 'a page is in another state in the reverse map table', fix: REPORT },
  27: { name: 'INVALID_MDATA_ENTRY', meaning: 'metadata of a swapped page is not valid', fix: REPORT },
  28: { name: 'INVALID_PAGE_OWNER', meaning: 'a page belongs to another guest', fix: REPORT },
  29: { name: 'AEAD_OFLOW', meaning: 'a counter of the firmware is used up', fix: REBOOT },
  32: { name: 'RMP_INIT_REQUIRED', meaning: 'the reverse map table is not initialised', fix: REBOOT },
  33: { name: 'BAD_SVN', meaning: 'the firmware is older than what is committed', fix: UPDATE },
  34: { name: 'BAD_VERSION', meaning: 'the version of the firmware does not fit', fix: UPDATE },
  35: { name: 'SHUTDOWN_REQUIRED', meaning: 'the platform must be shut down first', fix: REBOOT },
  36: { name: 'UPDATE_FAILED', meaning: 'an update of the firmware failed', fix: UPDATE },
  37: { name: 'RESTORE_REQUIRED', meaning: 'the firmware must be restored first', fix: UPDATE },
  38: {
    name: 'RMP_INITIALIZATION_FAILED',
    meaning: 'the reverse map table could not be initialised',
    fix: 'enable SNP memory (RMP table) coverage in the BIOS',
  },
  39: { name: 'INVALID_KEY', meaning: 'a key is not valid', fix: UPDATE },
}

/** @returns undefined for a number that AMD's tables do not have */
export function firmwareStatus(code: number): FirmwareStatus | undefined {
  return Object.hasOwn(STATUSES, code) ? STATUSES[code] : undefined
}
