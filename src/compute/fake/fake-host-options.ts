import { InvalidConfiguration, type SevbusError } from '../../errors.ts'
import type { KernelParameters } from '../libvirt/kernel-parameters.ts'

/** Machine types of the simulated QEMU: aliases first, then what they stand for. */
export const FAKE_MACHINE_TYPES = ['q35', 'pc', 'pc-q35-9.2', 'pc-i440fx-9.2']

/** What the simulated machine is like, and how it misbehaves. Names as in the configuration file. */
export interface FakeHostOptions {
  readonly vcpus?: number
  readonly memory_mb?: number
  readonly disk_gb?: number
  readonly default_machine_type?: string
  readonly supports_uefi?: boolean
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
  /** Fault: so many spawns fail (`Infinity`: all), or those for which the function gives an error. */
  readonly fail_spawn?: number | ((instanceUuid: string) => SevbusError | undefined)
  /** Fault: starts every guest without its launchSecurity, as a libvirt would that does not know the element. */
  readonly starts_in_clear?: boolean
}

export type FakeHostFacts = Required<FakeHostOptions>

/** @throws InvalidConfiguration when no machine could be like that */
export function withDefaults(options: FakeHostOptions): FakeHostFacts {
  const facts: FakeHostFacts = {
    vcpus: 64,
    memory_mb: 262_144,
    disk_gb: 2048,
    default_machine_type: 'q35',
    supports_uefi: true,
    sev_slots: 15,
    sev_es_slots: 0,
    sev_snp_slots: 0,
    kernel_parameters: {},
    spawn_delay_ms: 0,
    fail_spawn: 0,
    starts_in_clear: false,
    ...options,
  }
  if (!FAKE_MACHINE_TYPES.includes(facts.default_machine_type)) {
    throw new InvalidConfiguration(
      `fake.default_machine_type is ${facts.default_machine_type}; the simulated host has ${FAKE_MACHINE_TYPES.join(', ')}`,
      { value: facts.default_machine_type, fix: 'write q35 or pc' },
    )
  }
  return facts
}
