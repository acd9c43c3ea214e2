import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { DomainCapabilities } from './domain-capabilities.ts'
import { isOn, type KernelParameters } from './kernel-parameters.ts'

/** What the host can do, decided from libvirt's domain capabilities and the kernel's parameters together. */
export interface HostCapabilities {
  readonly arch: string
  readonly defaultMachineType: string
  /** Every name a guest may ask for: aliases and versioned ones. */
  readonly machineTypes: readonly string[]
  readonly supportsUefi: boolean
  /** Slots of each model that both libvirt and the kernel offer; models that are missing have a reason instead. */
  readonly slots: Readonly<Partial<Record<MemEncryptionModel, number>>>
  readonly missing: Readonly<Partial<Record<MemEncryptionModel, string>>>
  /** Position of the C-bit and the address bits it costs: processor facts that the domain document repeats. */
  readonly cbitpos: number | undefined
  readonly reducedPhysBits: number | undefined
}

/** What is asked of a host. */
export interface HostFacts {
  readonly arch: string
  readonly defaultMachineType: string
  readonly machineTypes: readonly string[]
  /** One document for each machine type of interest; at least one. */
  readonly documents: readonly DomainCapabilities[]
  readonly kernel: KernelParameters
}

/** Placement's largest amount: a limit that is there and not known ("don't impose any limit", the spec). */
const UNKNOWN_SLOTS = 2_147_483_647

/**
 * Decides which models the host offers, and says of each other one what it lacks.
 *
 * Both libvirt and the kernel must offer a model: neither implies the other (the spec, "Proposed change").
 */
export function decideHostCapabilities(facts: HostFacts): HostCapabilities {
  // Encrypted guests run on q35 only, so its document counts; any other still tells about the processor.
  const document = facts.documents.find(({ machine }) => machine?.includes('q35')) ?? facts.documents[0]
  const sev = facts.documents.map((candidate) => candidate.sev).find(({ supported }) => supported)
  const verdicts = {
    'amd-sev': sevVerdict(facts, sev),
    'amd-sev-es': sevEsVerdict(facts, sev),
    'amd-sev-snp': sevSnpVerdict(facts, sev),
  } satisfies Record<MemEncryptionModel, Verdict>
  const entries = Object.entries(verdicts) as [MemEncryptionModel, Verdict][]
  return {
    arch: facts.arch,
    defaultMachineType: facts.defaultMachineType,
    machineTypes: facts.machineTypes,
    supportsUefi: document?.firmware.includes('efi') ?? false,
    slots: Object.fromEntries(entries.filter(([, verdict]) => typeof verdict === 'number')),
    missing: Object.fromEntries(entries.filter(([, verdict]) => typeof verdict === 'string')),
    cbitpos: sev?.cbitpos,
    reducedPhysBits: sev?.reducedPhysBits,
  }
}

/** The number of slots, or why there are none. */
type Verdict = number | string
type Sev = DomainCapabilities['sev'] | undefined

function sevVerdict(facts: HostFacts, sev: Sev): Verdict {
  const lacking = lackOfSev(facts, sev)
  if (lacking !== undefined) return lacking
  if (sev?.maxGuests === 0) return 'no encryption key is left for it: lower the number of SEV-ES keys in the BIOS'
  return sev?.maxGuests ?? UNKNOWN_SLOTS
}

function sevEsVerdict(facts: HostFacts, sev: Sev): Verdict {
  const lacking = lackOfSev(facts, sev)
  if (lacking !== undefined) return lacking
  if (!isOn(facts.kernel.sev_es)) return 'the kernel has it off: load kvm_amd with sev_es=1'
  // The kernel's word alone counts: the firmware withdraws ES as soon as SNP is initialised.
  if (isOn(facts.kernel.sev_snp)) {
    return 'SEV-SNP is on, and AMD firmware with the fix for CVE-2025-48514 then starts no SEV-ES guests: load kvm_amd with sev_snp=0 to have it'
  }
  return keysOfEs(sev)
}

function sevSnpVerdict(facts: HostFacts, sev: Sev): Verdict {
  const lacking = lackOfSev(facts, sev)
  if (lacking !== undefined) return lacking
  if (!isOn(facts.kernel.sev_snp))
    return 'the kernel has it off: load kvm_amd with sev_snp=1 and enable SNP in the BIOS'
  if (!facts.documents.some(({ launchSecurityTypes }) => launchSecurityTypes?.includes('sev-snp'))) {
    return 'libvirt does not offer launch security of type sev-snp: libvirt >= 10.5 and QEMU >= 9.1 do'
  }
  return keysOfEs(sev)
}

/** What every model needs, whatever its number of keys. */
function lackOfSev({ arch, kernel }: HostFacts, sev: Sev): string | undefined {
  if (arch !== 'x86_64') return `the host is ${arch}; SEV is AMD's, on x86_64`
  if (!isOn(kernel.sev)) return 'the kernel has it off: load kvm_amd with sev=1 and enable SME/SEV in the BIOS'
  if (sev !== undefined) return undefined
  return 'libvirt and QEMU report no SEV: check /dev/sev and the SEV firmware, QEMU >= 2.12, libvirt >= 4.5'
}

/** SEV-ES and SEV-SNP draw on the same keys; only one of the two is ever active. */
function keysOfEs(sev: Sev): Verdict {
  if (sev?.maxEsGuests === undefined) return 'libvirt does not tell how many guests it allows: libvirt >= 8.0 does'
  if (sev.maxEsGuests === 0) return 'no encryption key is set aside for it: raise the number of SEV-ES keys in the BIOS'
  return sev.maxEsGuests
}
