import { describe, expect, it } from 'vitest'
import { refuseOtherClaim } from '../../src/compute/claim-check.ts'
import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import type { Allocation } from '../../src/objects/request-spec.ts'
import { anInstance } from './support/instances.ts'

const ROOT: readonly Allocation[] = [
  { provider: 'cn-1', resource_class: 'VCPU', amount: 2 },
  { provider: 'cn-1', resource_class: 'MEMORY_MB', amount: 2080, pinned: true },
]
const slot = (provider: string, amount = 1): Allocation => ({
  provider,
  resource_class: 'MEM_ENCRYPTION_CONTEXT',
  amount,
})

const check = (model: MemEncryptionModel | undefined, allocations: readonly Allocation[] | undefined) => () =>
  refuseOtherClaim(anInstance({ ...(model && { model }) }), allocations, 'cn-1')

describe('the allocations that come with a build', () => {
  it('are one slot of the model on this host for an encrypted guest, and none for one in clear', () => {
    for (const model of MemEncryptionModel.options) {
      expect(check(model, [...ROOT, slot(`cn-1${MEM_ENCRYPTION_MODELS[model].poolSuffix}`)])).not.toThrow()
    }
    expect(check(undefined, ROOT)).not.toThrow()
    expect(check(undefined, [])).not.toThrow()
  })

  it('are not judged where a conductor of an older release tells none', () => {
    expect(check('amd-sev', undefined)).not.toThrow()
    expect(check(undefined, undefined)).not.toThrow()
  })

  it.each<[string, MemEncryptionModel | undefined, readonly Allocation[], string]>([
    [
      'no slot',
      'amd-sev',
      ROOT,
      'the guest runs with amd-sev and needs 1 of cn-1_amd_sev MEM_ENCRYPTION_CONTEXT, but its allocations have none; it is not started',
    ],
    [
      'nothing at all',
      'amd-sev-snp',
      [],
      'the guest runs with amd-sev-snp and needs 1 of cn-1_amd_sev_snp MEM_ENCRYPTION_CONTEXT, but its allocations have none; it is not started',
    ],
    [
      "another model's slot",
      'amd-sev',
      [...ROOT, slot('cn-1_amd_sev_es')],
      'the guest runs with amd-sev and needs 1 of cn-1_amd_sev MEM_ENCRYPTION_CONTEXT, but its allocations have 1 of cn-1_amd_sev_es; it is not started',
    ],
    [
      "another host's slot",
      'amd-sev-es',
      [...ROOT, slot('cn-2_amd_sev_es')],
      'the guest runs with amd-sev-es and needs 1 of cn-1_amd_sev_es MEM_ENCRYPTION_CONTEXT, but its allocations have 1 of cn-2_amd_sev_es; it is not started',
    ],
    [
      'two slots',
      'amd-sev',
      [slot('cn-1_amd_sev', 2)],
      'the guest runs with amd-sev and needs 1 of cn-1_amd_sev MEM_ENCRYPTION_CONTEXT, but its allocations have 2 of cn-1_amd_sev; it is not started',
    ],
    [
      'a slot of each of two models',
      'amd-sev',
      [slot('cn-1_amd_sev'), slot('cn-1_amd_sev_es')],
      'the guest runs with amd-sev and needs 1 of cn-1_amd_sev MEM_ENCRYPTION_CONTEXT, but its allocations have 1 of cn-1_amd_sev, 1 of cn-1_amd_sev_es; it is not started',
    ],
    [
      'a slot',
      undefined,
      [...ROOT, slot('cn-1_amd_sev')],
      'the guest runs in clear and needs no MEM_ENCRYPTION_CONTEXT, but its allocations have 1 of cn-1_amd_sev; it is not started',
    ],
  ])('with %s keep a guest with %s from being started', (_what, model, allocations, message) => {
    expect(check(model, allocations)).toThrow(
      expect.objectContaining({ code: 'CLAIM_MISMATCH', retryable: true, message }),
    )
  })

  it('are told with the refusal', () => {
    const instance = anInstance({ model: 'amd-sev' })

    expect(() => refuseOtherClaim(instance, [slot('cn-1_amd_sev_es')], 'cn-1')).toThrow(
      expect.objectContaining({
        details: {
          instance_uuid: instance.uuid,
          model: 'amd-sev',
          needed: '1 of cn-1_amd_sev',
          claimed: '1 of cn-1_amd_sev_es',
        },
      }),
    )
    expect(() => refuseOtherClaim(instance, ROOT, 'cn-1')).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ claimed: null }) }),
    )
    expect(check(undefined, [slot('cn-1_amd_sev')])).toThrow(
      expect.objectContaining({ details: expect.objectContaining({ model: null, needed: null }) }),
    )
  })
})
