import { z } from 'zod'
import { UefiGuests } from '../../objects/host-report.ts'
import { isQ35 } from '../../objects/machine-type.ts'
import { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { type DomainCapabilities, UNKNOWN_SLOTS } from './domain-capabilities.ts'
import type { FirmwareFiles } from './domain-options.ts'
import type { FirmwareDescriptor } from './firmware-descriptors.ts'
import { firmwareFacts, type HostFirmware, hostFirmware, lackOfFirmware } from './host-firmware.ts'
import { isOn, type KernelParameters } from './kernel-parameters.ts'
import { LIMIT_OPTIONS } from './limit-options.ts'

const Name = z.string().min(1).max(255)
const Slots = z.int().min(1).max(UNKNOWN_SLOTS)

/**
 * What the host can do, decided from libvirt's domain capabilities, the kernel's parameters and the firmware together.
 * Also the form of a file: `sevbus lint --host`.
 */
export const HostCapabilities = z.strictObject({
  /** Of the processor: SEV is on `x86_64`. */
  arch: Name,
  /** Machine type for images that leave it open. */
  defaultMachineType: Name,
  /** Every name a guest may ask for: aliases and versioned ones. */
  machineTypes: z.array(Name).max(1000).readonly(),
  /** libvirt picks UEFI firmware by itself. */
  supportsUefi: z.boolean(),
  /** The operator names UEFI files for the host, which are used where libvirt finds none. */
  namedFirmware: z.boolean().optional(),
  /**
   * Features of the firmware that libvirt can pick for q35 guests that keep their variables, all descriptors together: a
   * guest needs one of them alone. Absent: nobody could read the descriptors, and libvirt is asked in vain or not.
   */
  firmwareFeatures: z.array(Name).max(1000).readonly().optional(),
  /** The same for stateless guests. */
  statelessFirmwareFeatures: z.array(Name).max(1000).readonly().optional(),
  /** Guests that UEFI firmware here boots, found by libvirt or named; absent: it cannot be told. */
  uefiGuests: UefiGuests.optional(),
  /** Buses that q35 guests can have disks on; absent: libvirt does not tell. */
  diskBuses: z.array(Name).max(100).readonly().optional(),
  /** Slots of each model that is offered; models that are missing have a reason instead. */
  slots: z.partialRecord(MemEncryptionModel, Slots).readonly(),
  missing: z.partialRecord(MemEncryptionModel, z.string().max(500)).readonly(),
  /** Missing models that lack nothing but a number of guests: an operator who knows it can offer them. */
  uncounted: z.array(MemEncryptionModel).readonly().optional(),
  /** Position of the C-bit and the address bits it costs: processor facts that the domain document repeats. */
  cbitpos: z.int().min(0).max(63).optional(),
  reducedPhysBits: z.int().min(0).max(63).optional(),
})
export type HostCapabilities = z.infer<typeof HostCapabilities>

/** What is asked of a host. */
export interface HostFacts {
  readonly arch: string
  readonly defaultMachineType: string
  readonly machineTypes: readonly string[]
  /** One document for each machine type of interest; a host without any offers nothing. */
  readonly documents: readonly DomainCapabilities[]
  readonly kernel: KernelParameters
  /** Firmware descriptors; undefined: they cannot be read from here. */
  readonly descriptors?: readonly FirmwareDescriptor[] | undefined
  /** Files that the operator names in place of descriptors. */
  readonly firmwareFiles?: FirmwareFiles
}

/**
 * Decides which models the host offers, and says of each other one what it lacks.
 *
 * Both libvirt and the kernel must offer a model: neither implies the other (the spec, "Proposed change"). And what a
 * launch needs besides must be there, or guests would be sent here in vain: q35, firmware for the model, SCSI disks.
 */
export function decideHostCapabilities(facts: HostFacts): HostCapabilities {
  // Encrypted guests run on q35 only, so its document counts; any other still tells about the processor.
  const document = facts.documents.find(({ machine }) => machine?.includes('q35')) ?? facts.documents[0]
  const sev = facts.documents.map((candidate) => candidate.sev).find(({ supported }) => supported)
  const known = {
    ...facts,
    sev,
    diskBuses: document?.diskBuses,
    firmware: hostFirmware(facts, document),
  }
  const slots: Partial<Record<MemEncryptionModel, number>> = {}
  const missing: Partial<Record<MemEncryptionModel, string>> = {}
  for (const model of MemEncryptionModel.options) {
    const verdict = verdictOf(model, known)
    if (typeof verdict === 'number') slots[model] = verdict
    else missing[model] = verdict
  }
  const uncounted = MemEncryptionModel.options.filter((model) => missing[model] === notCounted(model))
  return {
    arch: facts.arch,
    defaultMachineType: facts.defaultMachineType,
    machineTypes: [...facts.machineTypes],
    ...firmwareFacts(known.firmware),
    ...(known.diskBuses && { diskBuses: [...known.diskBuses] }),
    slots,
    missing,
    ...(uncounted.length > 0 && { uncounted }),
    ...(sev?.cbitpos !== undefined && { cbitpos: sev.cbitpos }),
    ...(sev?.reducedPhysBits !== undefined && { reducedPhysBits: sev.reducedPhysBits }),
  }
}

/** Does the host run guests of the model, were it only that nobody can count them? */
export function canRun({ slots, uncounted }: HostCapabilities, model: MemEncryptionModel): boolean {
  return slots[model] !== undefined || uncounted?.includes(model) === true
}

/** The number of slots, or why there are none. */
type Verdict = number | string

interface KnownFacts extends HostFacts {
  /** Of the first document that has it. */
  readonly sev: DomainCapabilities['sev'] | undefined
  readonly diskBuses: readonly string[] | undefined
  readonly firmware: HostFirmware
}

function verdictOf(model: MemEncryptionModel, facts: KnownFacts): Verdict {
  const lacking = lackOfSev(facts) ?? lackOf(model, facts)
  if (lacking !== undefined) return lacking
  const keys = model === 'amd-sev' ? keysOfSev(facts) : keysOfEs(model, facts)
  const isSettled = typeof keys === 'string' && keys !== notCounted(model)
  return isSettled ? keys : (lackOfParts(model, facts) ?? keys)
}

/** What every model needs, whatever its number of keys. */
function lackOfSev({ arch, kernel, sev, documents }: KnownFacts): string | undefined {
  if (arch !== 'x86_64') return `the host is ${arch}; SEV is AMD's, on x86_64`
  if (!isOn(kernel.sev)) return 'the kernel has it off: load kvm_amd with sev=1 and enable SME/SEV in the BIOS'
  if (documents.length === 0) return 'libvirt tells no domain capabilities: install QEMU for x86_64, with KVM'
  if (sev !== undefined) return undefined
  return 'libvirt and QEMU report no SEV: check /dev/sev and the SEV firmware, QEMU >= 2.12, libvirt >= 4.5'
}

function lackOf(model: MemEncryptionModel, { kernel, documents }: KnownFacts): string | undefined {
  if (model === 'amd-sev') return undefined
  if (model === 'amd-sev-es') {
    if (!isOn(kernel.sev_es)) return 'the kernel has it off: load kvm_amd with sev_es=1'
    if (!isOn(kernel.sev_snp)) return undefined
    // The kernel's word alone counts: the firmware withdraws ES as soon as SNP is initialised.
    return 'SEV-SNP is on, and AMD firmware with the fix for CVE-2025-48514 then starts no SEV-ES guests: load kvm_amd with sev_snp=0 to have it'
  }
  if (!isOn(kernel.sev_snp)) return 'the kernel has it off: load kvm_amd with sev_snp=1 and enable SNP in the BIOS'
  if (documents.some(({ launchSecurityTypes }) => launchSecurityTypes?.includes('sev-snp'))) return undefined
  return 'libvirt does not offer launch security of type sev-snp: libvirt >= 10.5 and QEMU >= 9.1 do'
}

function keysOfSev({ sev }: KnownFacts): Verdict {
  if (sev?.maxGuests === 0) return 'no encryption key is left for it: lower the number of SEV-ES keys in the BIOS'
  return sev?.maxGuests ?? UNKNOWN_SLOTS
}

/**
 * SEV-ES and SEV-SNP draw on the same keys; only one of the two is ever active. Where nobody counts them they may be none,
 * as a BIOS sets aside none by itself, so they are not offered without limit as SEV is.
 */
function keysOfEs(model: MemEncryptionModel, { sev }: KnownFacts): Verdict {
  if (sev?.maxEsGuests === undefined) return notCounted(model)
  if (sev.maxEsGuests === 0) return 'no encryption key is set aside for it: raise the number of SEV-ES keys in the BIOS'
  return sev.maxEsGuests
}

function notCounted(model: MemEncryptionModel): string {
  return `libvirt does not tell how many guests it allows: libvirt >= 8.0 does, or set ${LIMIT_OPTIONS[model]} to their number`
}

/** What the guest's machine is made of: the spec names it as future work, so that hosts without are not chosen. */
function lackOfParts(model: MemEncryptionModel, facts: KnownFacts): string | undefined {
  const { machineTypes, diskBuses } = facts
  if (!machineTypes.some(isQ35))
    return 'QEMU has no machine type q35, which encrypted guests need: install one that has it'
  if (diskBuses !== undefined && !diskBuses.includes('scsi')) {
    return 'QEMU has no SCSI disks on q35, from which encrypted guests boot: install its virtio-scsi'
  }
  return lackOfFirmware(model, facts.firmware)
}
