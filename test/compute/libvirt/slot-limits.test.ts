import { describe, expect, it } from 'vitest'
import { UNKNOWN_SLOTS } from '../../../src/compute/libvirt/domain-capabilities.ts'
import { limitSlots, NO_LIMITS } from '../../../src/compute/libvirt/slot-limits.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { aCapableHost } from '../support/hosts.ts'

const OFF = 'the kernel has it off'

/** Slots of a model (0: none) and the warnings, by what was detected and what is configured. */
function limited(model: MemEncryptionModel, detected: number | undefined, limit: number | undefined) {
  const host = aCapableHost(
    detected === undefined ? { slots: {}, missing: { [model]: OFF } } : { slots: { [model]: detected }, missing: {} },
  )
  const { capabilities, warnings } = limitSlots(host, { ...NO_LIMITS, [model]: limit })
  return { slots: capabilities.slots[model] ?? 0, missing: capabilities.missing[model], warnings }
}

describe('num_memory_encrypted_guests', () => {
  it.each([
    ['unset is what was detected', 100, undefined, 100, []],
    ['unset is no limit where nothing was detected', UNKNOWN_SLOTS, undefined, UNKNOWN_SLOTS, []],
    ['counts where nothing was detected', UNKNOWN_SLOTS, 15, 15, []],
    ["lower is the operator's cap", 100, 80, 80, []],
    [
      'equal is no longer needed',
      100,
      100,
      100,
      ['compute.num_memory_encrypted_guests is 100, which the host tells by itself: it is no longer needed'],
    ],
    [
      'higher is what was detected',
      100,
      120,
      100,
      ['compute.num_memory_encrypted_guests is 120, but the host has 100 SEV slots, which count: lower or remove it'],
    ],
    [
      'on a host without SEV is none',
      undefined,
      15,
      0,
      [`compute.num_memory_encrypted_guests is 15, but this host offers no SEV: ${OFF}`],
    ],
    ['0 on a host without SEV says nothing', undefined, 0, 0, []],
  ] as const)('%s', (_, detected, limit, slots, warnings) => {
    expect(limited('amd-sev', detected, limit)).toMatchObject({ slots, warnings })
  })

  it('0 switches SEV off, and says so to who asks why', () => {
    expect(limited('amd-sev', 100, 0)).toEqual({
      slots: 0,
      missing: 'compute.num_memory_encrypted_guests is 0: raise or remove it to offer SEV',
      warnings: [],
    })
  })

  it('has a counterpart for each other model, and leaves those alone', () => {
    const host = aCapableHost()

    expect(limitSlots(host, { ...NO_LIMITS, 'amd-sev': 3 }).capabilities.slots).toEqual({ ...host.slots, 'amd-sev': 3 })
    expect(limited('amd-sev-es', 15, 4).slots).toBe(4)
    expect(limited('amd-sev-snp', 15, 0).missing).toBe(
      'compute.num_sev_snp_encrypted_guests is 0: raise or remove it to offer SEV-SNP',
    )
    expect(limited('amd-sev-es', 15, 15).warnings[0]).toMatch(/^compute.num_sev_es_encrypted_guests is 15/)
  })

  it.each([
    [8, 8, undefined],
    [undefined, undefined, OFF],
    [0, undefined, 'compute.num_sev_es_encrypted_guests is 0: raise or remove it to offer SEV-ES'],
  ])('of %j offers %j slots of SEV-ES where nobody can count them', (limit, slots, missing) => {
    const host = aCapableHost({ slots: {}, missing: { 'amd-sev-es': OFF }, uncounted: ['amd-sev-es'] })

    const { capabilities, warnings } = limitSlots(host, { ...NO_LIMITS, 'amd-sev-es': limit })

    expect(capabilities.slots['amd-sev-es']).toBe(slots)
    expect(capabilities.missing['amd-sev-es']).toBe(missing)
    expect(warnings).toEqual([])
  })
})
