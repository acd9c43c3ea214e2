import { describe, expect, it } from 'vitest'
import type { HostReport, ProviderReport } from '../../../src/objects/host-report.ts'
import type { Inventory } from '../../../src/objects/inventory.ts'
import { checkReport } from '../../../src/scheduler/placement/report-check.ts'
import { aHostReport, anInventory } from '../../support/host-reports.ts'

function withVcpu(vcpu: Partial<Inventory>): HostReport {
  const report = aHostReport('cn-1')
  const [root] = report.providers as [ProviderReport]
  return { ...report, providers: [{ ...root, inventories: { VCPU: anInventory(8, vcpu) } }] }
}

function withProviders(...trees: readonly (readonly [string, string | null])[]): HostReport {
  const providers = trees.map(([name, parent_name]) => ({ name, parent_name, inventories: {}, traits: [] }))
  return { ...aHostReport('cn-1'), providers }
}

describe('the check of a report', () => {
  it('takes what can be true', () => {
    expect(() => checkReport(aHostReport('cn-1', { slots: { 'amd-sev': 15, 'amd-sev-es': 5 } }))).not.toThrow()
    expect(() => checkReport(withVcpu({ reserved: 8 }))).not.toThrow()
    expect(() => checkReport(withVcpu({ min_unit: 5, step_size: 5 }))).not.toThrow()
    expect(() => checkReport(withVcpu({ allocation_ratio: 0.125 }))).not.toThrow()
  })

  it('refuses encryption keys lent twice', () => {
    const { providers, ...report } = aHostReport('cn-1', { slots: { 'amd-sev': 15 } })
    const [root, pool] = providers as [ProviderReport, ProviderReport]
    const lent = {
      ...pool,
      inventories: { MEM_ENCRYPTION_CONTEXT: anInventory(15, { max_unit: 1, allocation_ratio: 4 }) },
    }

    expect(() => checkReport({ ...report, providers: [root, lent] })).toThrow(
      "MEM_ENCRYPTION_CONTEXT of cn-1_amd_sev has allocation_ratio 4; report 1: a key is one guest's",
    )
  })

  it('refuses slots of the host itself, and processors of a pool', () => {
    const { providers, ...report } = aHostReport('cn-1', { slots: { 'amd-sev': 15 } })
    const [root, pool] = providers as [ProviderReport, ProviderReport]
    const slots = { ...root, inventories: { ...root.inventories, ...pool.inventories } }
    const processors = { ...pool, inventories: { ...pool.inventories, VCPU: anInventory(8) } }

    expect(() => checkReport({ ...report, providers: [slots] })).toThrow(
      'cn-1 itself has MEM_ENCRYPTION_CONTEXT; report them of a pool under cn-1, with the trait of their model',
    )
    expect(() => checkReport({ ...report, providers: [root, processors] })).toThrow(
      'the pool cn-1_amd_sev has VCPU; report it of cn-1',
    )
  })

  it('refuses a pool of two models', () => {
    const [, es, snp] = aHostReport('cn-1', { slots: { 'amd-sev-es': 5, 'amd-sev-snp': 5 } }).providers
    const pool = { ...(es as ProviderReport), traits: [...(es?.traits ?? []), ...(snp?.traits ?? [])] }
    const report = { ...aHostReport('cn-1'), providers: [...aHostReport('cn-1').providers, pool] }

    expect(() => checkReport(report)).toThrow(
      'the report of cn-1 was not taken: cn-1_amd_sev_es has the traits HW_CPU_X86_AMD_SEV_ES and HW_CPU_X86_AMD_SEV_SNP; report a pool for each model',
    )
  })

  it.each([
    [{ reserved: 9 }, 'VCPU of cn-1 has 9 reserved of 8; reserve at most the total'],
    [{ total: 0 }, 'VCPU of cn-1 has total 0; leave out a resource that the host has none of'],
    [{ total: -1 }, 'VCPU of cn-1 has total -1; report a whole number'],
    [{ total: Number.NaN }, 'VCPU of cn-1 has total NaN; report a whole number'],
    [{ min_unit: 9 }, 'VCPU of cn-1 has min_unit 9 and max_unit 8; report min_unit from 1 up to max_unit'],
    [{ step_size: 0 }, 'VCPU of cn-1 has step_size 0; report a step_size from 1'],
    [
      { step_size: 5, min_unit: 6 },
      'VCPU of cn-1 has step_size 5, of which no multiple is from 6 to 8; report a step_size that some amount fits',
    ],
    [{ reserved: -1 }, 'VCPU of cn-1 has reserved -1; report a whole number'],
    [{ max_unit: 1.5 }, 'VCPU of cn-1 has max_unit 1.5; report a whole number'],
    [{ min_unit: 0 }, 'VCPU of cn-1 has min_unit 0 and max_unit 8; report min_unit from 1 up to max_unit'],
    [{ allocation_ratio: Number.NaN }, 'VCPU of cn-1 has allocation_ratio NaN; report a ratio above 0, at most 1000'],
    [
      { allocation_ratio: 1e-300 },
      'VCPU of cn-1 has allocation_ratio 1e-300, with which there is nothing to allocate of 8; report a larger one, or leave the resource out',
    ],
    [{ allocation_ratio: 0 }, 'VCPU of cn-1 has allocation_ratio 0; report a ratio above 0, at most 1000'],
    [
      { allocation_ratio: Number.POSITIVE_INFINITY },
      'VCPU of cn-1 has allocation_ratio Infinity; report a ratio above 0, at most 1000',
    ],
  ])('refuses the inventory %j', (lie, problem) => {
    expect(() => checkReport(withVcpu(lie))).toThrow(`the report of cn-1 was not taken: ${problem}`)
  })

  it.each([
    [
      [
        ['cn-1', null],
        ['cn-1', null],
      ],
      'two providers are named cn-1; give each provider its own name',
    ],
    [[['cn-1', 'cn-0']], 'no provider without a parent; report one provider for the host itself'],
    [
      [
        ['a', null],
        ['b', null],
      ],
      'a and b without a parent; report one provider for the host itself',
    ],
    [
      [
        ['cn-1', null],
        ['cn-1_b', 'c'],
      ],
      'cn-1_b has the parent c; its parent must be cn-1',
    ],
    [[['cn-2', null]], "provider cn-2 is not named after its host; name the host's own provider cn-1"],
    [
      [
        ['cn-1', null],
        ['cn-2_amd_sev', 'cn-1'],
      ],
      'provider cn-2_amd_sev is not named after its host; begin its name with cn-1_',
    ],
  ] as const)('refuses the tree %j', (tree, problem) => {
    expect(() => checkReport(withProviders(...tree))).toThrow(`the report of cn-1 was not taken: ${problem}`)
  })
})
