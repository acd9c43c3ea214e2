import { EncryptionSlotsExhausted, HostCapabilityMissing, type SevbusError, SpawnFailed } from '../../../errors.ts'
import { VIR_ERR } from '../rpc/remote-error.ts'
import { firmwareStatus } from './firmware-status.ts'

/** What libvirt said when it did not define or start a guest. */
export interface Refusal {
  /** libvirt's `virErrorNumber`. */
  readonly code: number
  readonly message: string
}

/** What travels and is stored of a text in which QEMU's whole command line may be. */
const MAX_TEXT = 1000

interface Kind {
  readonly pattern: RegExp
  readonly error: typeof SpawnFailed | typeof HostCapabilityMissing
  readonly what: string
  readonly fix: string
}

/**
 * Every failure of QEMU is libvirt's `internal error`, so that its text alone tells them apart. The patterns fit QEMU 7.2
 * to 10.0 and libvirt 9.0 to 11.3; the first that fits counts.
 */
const KINDS: readonly Kind[] = [
  {
    pattern: /cannot limit locked memory of process|cannot set.*RLIMIT_MEMLOCK/i,
    error: SpawnFailed,
    what: 'libvirt may not raise the limit of locked memory',
    fix: 'run libvirtd with CAP_SYS_RESOURCE (a container needs --privileged), or with LimitMEMLOCK=infinity',
  },
  {
    pattern: /failed to register region|locking memory failed|failed to lock memory|mlockall/i,
    error: SpawnFailed,
    what: 'the memory of the guest could not be locked',
    fix: 'raise reserved_host_memory_mb to what the host needs, and LimitMEMLOCK of libvirtd',
  },
  {
    pattern: /unable to find (any firmware to satisfy|'efi' firmware)/i,
    error: HostCapabilityMissing,
    what: 'libvirt finds no UEFI firmware for this guest by its descriptors',
    fix: 'install OVMF with a descriptor for the model, or name files: compute.uefi_loader, compute.uefi_stateless_loader',
  },
  {
    pattern: /Firmware GUID Table block not found|could not load PC BIOS|failed to find loadable firmware/i,
    error: HostCapabilityMissing,
    what: 'the UEFI firmware is not there, or was not built for encrypted guests',
    fix: 'install an OVMF with SEV-ES support, and name it: compute.uefi_loader, compute.uefi_stateless_loader',
  },
  {
    pattern: /cbitpos check failed/i,
    error: HostCapabilityMissing,
    what: 'the C-bit of the guest is not that of this processor',
    fix: 'restart the worker, so that it asks libvirt for the processor again',
  },
  {
    pattern:
      /host SEV-ES support unavailable|SEV-ES support is not|SEV-SNP not supported by KVM|vm-type .* not supported/i,
    error: HostCapabilityMissing,
    what: 'the kernel does not start guests of this model',
    fix: 'load kvm_amd with sev_es=1 or sev_snp=1, and check the BIOS',
  },
  {
    pattern: /\/dev\/sev|failed to get platform status|launch security is not supported|SEV.* is not supported/i,
    error: HostCapabilityMissing,
    what: 'QEMU cannot reach the secure processor',
    fix: 'check that kvm_amd has sev=1, that /dev/sev is there, and that the QEMU is built with SEV',
  },
  {
    pattern: /does not support machine type|unsupported machine type/i,
    error: HostCapabilityMissing,
    what: 'QEMU does not have the machine type',
    fix: 'set hw_machine_type on the image to one that the host has',
  },
  {
    pattern: /failed to validate against schema/i,
    error: HostCapabilityMissing,
    what: 'this libvirt does not know what the domain asks for',
    fix: 'update libvirt: SEV since 4.5, SEV-SNP since 10.5',
  },
]

/**
 * In our words, with what to do; libvirt's own text stays in it.
 *
 * `ret=-16` is the kernel's EBUSY: no ASID is free, or the misc controller of a cgroup allows no more
 * (`arch/x86/kvm/svm/sev.c`, `sev_asid_new`).
 */
export function startFailure({ code, message }: Refusal, instanceUuid: string): SevbusError {
  const details = { instance_uuid: instanceUuid, libvirt_code: code }
  const text = message.length > MAX_TEXT ? `${message.slice(0, MAX_TEXT)}…` : message
  if (/failed to initialize ret=-16\b/.test(message)) {
    return new EncryptionSlotsExhausted(`no encryption key (ASID) is free on this host: ${text}`, {
      ...details,
      fix: 'look for guests that placement does not know (sevbus audit), and for a limit in misc.max of machine.slice',
    })
  }
  const refused = firmwareRefusal(message)
  if (refused !== undefined) return new SpawnFailed(`${refused.what}: ${text}`, { ...details, ...refused.details })
  const kind = KINDS.find(({ pattern }) => pattern.test(message))
  if (kind !== undefined) return new kind.error(`${kind.what}: ${text}`, { ...details, fix: kind.fix })
  if (code === VIR_ERR.configUnsupported) {
    return new HostCapabilityMissing(text, { ...details, fix: 'update libvirt and QEMU, or choose another host' })
  }
  const fix = `look into libvirtd's log and QEMU's, /var/log/libvirt/qemu/sevbus-${instanceUuid}.log`
  return new SpawnFailed(text, { ...details, fix })
}

/** Numbers that AMD's tables do not have are QEMU's uninitialised memory more often than the firmware's word. */
function firmwareRefusal(message: string) {
  const number = Number(/\bfw_error='?(\d+)/.exec(message)?.[1])
  const status = firmwareStatus(number)
  if (status === undefined) return undefined
  const { name, meaning, fix } = status
  return { what: `the SEV firmware refused, ${name} (${number}): ${meaning}`, details: { fw_error: number, fix } }
}
