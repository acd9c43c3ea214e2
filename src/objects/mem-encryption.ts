import { z } from 'zod'
import { HW_CPU_X86_AMD_SEV, HW_CPU_X86_AMD_SEV_ES, HW_CPU_X86_AMD_SEV_SNP } from './resources.ts'

export const MemEncryptionModel = z.enum(['amd-sev', 'amd-sev-es', 'amd-sev-snp'])
export type MemEncryptionModel = z.infer<typeof MemEncryptionModel>

/** Guest policy bits for SEV and SEV-ES. Source: AMD SEV-KM API specification, chapter "Guest Policy". */
export const SEV_POLICY = { NODBG: 0x01, NOKS: 0x02, ES: 0x04, NOSEND: 0x08, DOMAIN: 0x10, SEV: 0x20 } as const
/** Guest policy bits for SEV-SNP. Source: AMD SEV-SNP ABI specification, "Guest Policy" (bit 17 must be one). */
const SNP_POLICY = { SMT: 0x1_0000, RESERVED_MUST_BE_ONE: 0x2_0000 } as const

/** The spec's SEV_POLICY_NORM: no debugging, no key sharing, migration only inside the domain. */
const SEV_POLICY_NORM = SEV_POLICY.NODBG | SEV_POLICY.NOKS | SEV_POLICY.DOMAIN | SEV_POLICY.SEV

export interface MemEncryptionRules {
  readonly model: MemEncryptionModel
  /** How people call it. */
  readonly label: string
  /** Trait of the pool that has the slots. */
  readonly trait: string
  /** The pool is the provider `<host><poolSuffix>`: Nova's names since 2025.2. */
  readonly poolSuffix: string
  /** One fixed value per model, as the spec says; nobody configures it. */
  readonly policy: number
  /** Hex digits that libvirt documents show for the policy (libvirt always reads it in base 16). */
  readonly policyDigits: number
  /** `<launchSecurity type=…>`. */
  readonly launchSecurityType: 'sev' | 'sev-snp'
  /** What a firmware descriptor of QEMU says of firmware that can be used for it (docs/interop/firmware.json). */
  readonly firmwareFeature: string
  /** SEV and SEV-ES pin every page (the spec, "Memory locking and accounting"); SNP does not need it. */
  readonly locksMemory: boolean
  /** SNP measures its firmware and so cannot keep variables in it. */
  readonly needsStatelessFirmware: boolean
  /** A host that runs guests of the one starts none of the other (CVE-2025-48514). */
  readonly excludes: MemEncryptionModel | undefined
}

/** Everything that differs between the models, and nothing else does: one row each. */
export const MEM_ENCRYPTION_MODELS: Readonly<Record<MemEncryptionModel, MemEncryptionRules>> = {
  'amd-sev': {
    model: 'amd-sev',
    label: 'SEV',
    trait: HW_CPU_X86_AMD_SEV,
    poolSuffix: '_amd_sev',
    policy: SEV_POLICY_NORM,
    policyDigits: 4,
    launchSecurityType: 'sev',
    firmwareFeature: 'amd-sev',
    locksMemory: true,
    needsStatelessFirmware: false,
    excludes: undefined,
  },
  'amd-sev-es': {
    model: 'amd-sev-es',
    label: 'SEV-ES',
    trait: HW_CPU_X86_AMD_SEV_ES,
    poolSuffix: '_amd_sev_es',
    policy: SEV_POLICY_NORM | SEV_POLICY.ES,
    policyDigits: 4,
    launchSecurityType: 'sev',
    firmwareFeature: 'amd-sev-es',
    locksMemory: true,
    needsStatelessFirmware: false,
    excludes: 'amd-sev-snp',
  },
  'amd-sev-snp': {
    model: 'amd-sev-snp',
    label: 'SEV-SNP',
    trait: HW_CPU_X86_AMD_SEV_SNP,
    poolSuffix: '_amd_sev_snp',
    policy: SNP_POLICY.SMT | SNP_POLICY.RESERVED_MUST_BE_ONE,
    policyDigits: 8,
    launchSecurityType: 'sev-snp',
    firmwareFeature: 'amd-sev-snp',
    locksMemory: false,
    needsStatelessFirmware: true,
    excludes: 'amd-sev-es',
  },
}

/** `0x0033`: the form that libvirt documents and people compare. */
export function policyHex({ policy, policyDigits }: MemEncryptionRules): string {
  return `0x${policy.toString(16).padStart(policyDigits, '0')}`
}

/** What an instance runs with: decided once at the request, fixed for this launch. */
export const MemEncryption = z
  .object({
    model: MemEncryptionModel,
    policy: z.string().regex(/^0x[0-9a-f]+$/),
    requested_by: z.enum(['flavor', 'image', 'flavor and image']),
  })
  .readonly()
export type MemEncryption = z.infer<typeof MemEncryption>
