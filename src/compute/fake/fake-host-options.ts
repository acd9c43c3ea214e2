import { InvalidConfiguration, type SevbusError } from '../../errors.ts'
import { type FirmwareFiles, NO_FIRMWARE_FILES } from '../libvirt/domain-options.ts'
import type { KernelParameters } from '../libvirt/kernel-parameters.ts'

/** Machine types of the simulated QEMU: aliases, with what they stand for. */
export const FAKE_MACHINES: Readonly<Record<string, string>> = { q35: 'pc-q35-9.2', pc: 'pc-i440fx-9.2' }

/** Those that this one has. */
export function machinesOf({ has_q35 }: Pick<FakeHostFacts, 'has_q35'>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(FAKE_MACHINES).filter(([alias]) => has_q35 || alias !== 'q35'))
}

/** What the simulated machine is like, and how it misbehaves. Names as in the configuration file. */
export interface FakeHostOptions {
  readonly vcpus?: number
  readonly memory_mb?: number
  readonly disk_gb?: number
  readonly default_machine_type?: string
  readonly supports_uefi?: boolean
  /** Features of its firmware descriptors, e.g. `amd-sev` alone, as some distributions' OVMF has. */
  readonly firmware_features?: readonly string[]
  /** Buses that its QEMU has disks on. */
  readonly disk_buses?: readonly string[]
  /** What its libvirt tells: the number of guests since 8.0, types of launch security since 10.5. */
  readonly libvirt_version?: `${number}.${number}`
  /** False: its QEMU has the old machine alone. */
  readonly has_q35?: boolean
  /** UEFI files that the operator names. */
  readonly firmware_files?: FirmwareFiles
  /** Encryption keys for SEV guests. EPYC of the first generation has 15. */
  readonly sev_slots?: number
  /** Keys set aside in the BIOS for SEV-ES. */
  readonly sev_es_slots?: number
  /** The same keys, with the kernel in SNP mode. When not 0 the host starts no SEV-ES guests (CVE-2025-48514). */
  readonly sev_snp_slots?: number
  /** Instead of what follows from the slots: a host whose kernel and libvirt disagree. */
  readonly kernel_parameters?: Partial<KernelParameters>
  /** How long QEMU takes to start, in milliseconds. */
  readonly spawn_delay_ms?: number
  /** How long a guest that is asked to shut down takes, in milliseconds; `Infinity`: it has nobody who hears. */
  readonly shutdown_delay_ms?: number
  /** Fault: its guests let go of no device while they run, as without an operating system. */
  readonly holds_devices?: boolean
  /** What it sees of disks: simulated hosts that have the same can take over guests from each other. */
  readonly storage?: string
  /** Fault: so many spawns fail (`Infinity`: all), or those for which the function gives an error. */
  readonly fail_spawn?: number | ((instanceUuid: string) => SevbusError | undefined)
  /** Fault: no guest of it comes to another host as it runs. */
  readonly fail_migration?: boolean
  /** Its guests write so much that none comes to another host until that is forced, or given up. */
  readonly holds_migrations?: boolean
  /** Fault: answers no question, as a libvirtd that hangs; what was asked is answered when it is over. Guests run on. */
  readonly hangs?: boolean
  /** Fault: keys that no guest one can see holds, as after a QEMU that left without giving its key back. */
  readonly stray_keys?: { readonly sev?: number; readonly sev_es?: number }
  /** Fault: starts every guest without its launchSecurity, as a libvirt would that does not know the element. */
  readonly starts_in_clear?: boolean
  /** Fault: its QEMU encrypts nothing, whatever the documents of its guests say. */
  readonly launches_in_clear?: boolean
}

export type FakeHostFacts = Required<FakeHostOptions>

/** @throws InvalidConfiguration when no machine could be like that */
export function withDefaults(options: FakeHostOptions): FakeHostFacts {
  const facts: FakeHostFacts = {
    vcpus: 64,
    memory_mb: 262_144,
    disk_gb: 2048,
    default_machine_type: options.has_q35 === false ? 'pc' : 'q35',
    supports_uefi: true,
    firmware_features: ['amd-sev', 'amd-sev-es', 'amd-sev-snp'],
    disk_buses: ['fdc', 'scsi', 'virtio', 'usb', 'sata'],
    libvirt_version: '11.3',
    has_q35: true,
    firmware_files: NO_FIRMWARE_FILES,
    sev_slots: 15,
    sev_es_slots: 0,
    sev_snp_slots: 0,
    kernel_parameters: {},
    spawn_delay_ms: 0,
    shutdown_delay_ms: 0,
    holds_devices: false,
    storage: 'simulated',
    fail_spawn: 0,
    fail_migration: false,
    holds_migrations: false,
    hangs: false,
    stray_keys: {},
    starts_in_clear: false,
    launches_in_clear: false,
    ...options,
  }
  refuseUnknownMachine('fake.default_machine_type', facts.default_machine_type, facts)
  return facts
}

/** @throws InvalidConfiguration for a default machine type, of this key, that the simulated QEMU does not have */
export function refuseUnknownMachine(key: string, value: string, host: Pick<FakeHostFacts, 'has_q35'>): void {
  const machines = machinesOf(host)
  const names = [...Object.keys(machines), ...Object.values(machines)]
  if (names.includes(value)) return
  throw new InvalidConfiguration(`${key} is ${value}; the simulated host has ${names.join(', ')}`, {
    value,
    fix: `write ${Object.keys(machines).join(' or ')}`,
  })
}
