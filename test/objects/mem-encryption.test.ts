import { describe, expect, it } from 'vitest'
import { MEM_ENCRYPTION_MODELS, policyHex } from '../../src/objects/mem-encryption.ts'

/** Bits as AMD names them, written once more from the documents and not from the code. */
const SEV_KM_API = { NODBG: 1 << 0, NOKS: 1 << 1, ES: 1 << 2, NOSEND: 1 << 3, DOMAIN: 1 << 4, SEV: 1 << 5 }
const SNP_ABI = { SMT: 1 << 16, RESERVED_ONE: 1 << 17, MIGRATE_MA: 1 << 18, DEBUG: 1 << 19 }

describe('the table of models', () => {
  it('has one fixed policy each: the bits of AMD, and the digits that libvirt documents', () => {
    const { NODBG, NOKS, ES, DOMAIN, SEV } = SEV_KM_API
    const policies = Object.values(MEM_ENCRYPTION_MODELS).map((rules) => [rules.model, rules.policy, policyHex(rules)])

    expect(policies).toEqual([
      // The spec's SEV_POLICY_NORM.
      ['amd-sev', NODBG | NOKS | DOMAIN | SEV, '0x0033'],
      ['amd-sev-es', NODBG | NOKS | ES | DOMAIN | SEV, '0x0037'],
      ['amd-sev-snp', SNP_ABI.SMT | SNP_ABI.RESERVED_ONE, '0x00030000'],
    ])
  })

  it('never allows to debug a guest, to share its key, or to move an SNP guest by an agent', () => {
    const { 'amd-sev': sev, 'amd-sev-es': es, 'amd-sev-snp': snp } = MEM_ENCRYPTION_MODELS

    for (const { policy } of [sev, es]) {
      expect(policy & (SEV_KM_API.NODBG | SEV_KM_API.NOKS)).toBe(SEV_KM_API.NODBG | SEV_KM_API.NOKS)
      expect(policy & SEV_KM_API.NOSEND).toBe(0)
    }
    expect(snp.policy & (SNP_ABI.DEBUG | SNP_ABI.MIGRATE_MA)).toBe(0)
  })

  it("has Nova's traits, pools and needs for each", () => {
    const needs = Object.values(MEM_ENCRYPTION_MODELS).map(
      ({ policy: _, policyDigits: __, label: ___, ...rules }) => rules,
    )

    expect(needs).toEqual([
      {
        model: 'amd-sev',
        firmwareFeature: 'amd-sev',
        trait: 'HW_CPU_X86_AMD_SEV',
        poolSuffix: '_amd_sev',
        launchSecurityType: 'sev',
        locksMemory: true,
        needsStatelessFirmware: false,
        excludes: undefined,
      },
      {
        model: 'amd-sev-es',
        firmwareFeature: 'amd-sev-es',
        trait: 'HW_CPU_X86_AMD_SEV_ES',
        poolSuffix: '_amd_sev_es',
        launchSecurityType: 'sev',
        locksMemory: true,
        needsStatelessFirmware: false,
        excludes: 'amd-sev-snp',
      },
      {
        model: 'amd-sev-snp',
        firmwareFeature: 'amd-sev-snp',
        trait: 'HW_CPU_X86_AMD_SEV_SNP',
        poolSuffix: '_amd_sev_snp',
        launchSecurityType: 'sev-snp',
        locksMemory: false,
        needsStatelessFirmware: true,
        excludes: 'amd-sev-es',
      },
    ])
  })
})
