import { describe, expect, it } from 'vitest'
import { capacity } from '../../src/objects/inventory.ts'
import { allocationsOn, fitsBesidePinned, free, type InventoryState } from '../../src/scheduler/host-state.ts'
import { aHost, aRequest } from './builders.ts'

/** 1000 in all, 200 reserved. */
function memory(allocation_ratio: number, state: Partial<InventoryState> = {}): InventoryState {
  const inventory = { total: 1000, reserved: 200, min_unit: 1, max_unit: 1000, step_size: 1, allocation_ratio }
  return { ...inventory, capacity: capacity(inventory), used: 0, pinned: 0, offered: true, version: 1, ...state }
}

describe('what is free of an inventory', () => {
  it.each([
    ['nothing used', memory(1.5), 1200],
    ['ordinary use', memory(1.5, { used: 300 }), 900],
    ['pinned use, which is lent out once', memory(1.5, { used: 300, pinned: 300 }), 750],
    ['both', memory(1.5, { used: 400, pinned: 300 }), 650],
    ['all of it pinned', memory(1.5, { used: 800, pinned: 800 }), 0],
    ['more used than there is', memory(1, { used: 900 }), 0],
    ['no overcommit, pinned or not', memory(1, { used: 300, pinned: 200 }), 500],
    ['less given out than there is', memory(0.5, { used: 100, pinned: 100 }), 300],
    ['an offer that is withdrawn', memory(1, { offered: false }), 0],
    ['no inventory', undefined, 0],
  ])('with %s', (_what, inventory, expected) => {
    expect(free(inventory)).toBe(expected)
  })
})

describe('what fits beside pinned memory', () => {
  it.each([
    [1.5, 0, 0, 800],
    [1.5, 300, 300, 500],
    [1.5, 400, 0, 533],
    [2, 1000, 0, 300],
    [1, 500, 100, 300],
  ])('at a ratio of %d, with %d used and %d of it pinned: %d more to be pinned', (ratio, used, pinned, most) => {
    const inventory = memory(ratio, { used, pinned })

    expect(fitsBesidePinned(inventory, most, true)).toBe(true)
    expect(fitsBesidePinned(inventory, most + 1, true)).toBe(false)
    // What is not pinned has as much room as `free` says.
    expect(fitsBesidePinned(inventory, free(inventory), false)).toBe(true)
    expect(fitsBesidePinned(inventory, free(inventory) + 1, false)).toBe(false)
  })
})

describe('what is claimed on a host', () => {
  const host = aHost('cn-1', { slots: { 'amd-sev': 1, 'amd-sev-es': 1 } })

  it('is the root resources, pinned memory and one slot of the pool of the model', () => {
    expect(allocationsOn(host, aRequest({ model: 'amd-sev-es' }).resources)).toEqual([
      { provider: 'cn-1', resource_class: 'VCPU', amount: 1 },
      { provider: 'cn-1', resource_class: 'MEMORY_MB', amount: 1056, pinned: true },
      { provider: 'cn-1', resource_class: 'DISK_GB', amount: 10 },
      { provider: 'cn-1_amd_sev_es', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
    ])
  })

  it('is nothing of a pool, and nothing pinned, for a guest in clear', () => {
    expect(allocationsOn(host, aRequest().resources)).toEqual([
      { provider: 'cn-1', resource_class: 'VCPU', amount: 1 },
      { provider: 'cn-1', resource_class: 'MEMORY_MB', amount: 1024 },
      { provider: 'cn-1', resource_class: 'DISK_GB', amount: 10 },
    ])
  })

  it('is undefined where no pool of the model has a slot', () => {
    const full = aHost('cn-1', { slots: { 'amd-sev': 1 }, used: { MEM_ENCRYPTION_CONTEXT: 1 } })

    expect(allocationsOn(full, aRequest({ model: 'amd-sev' }).resources)).toBeUndefined()
    expect(allocationsOn(full, aRequest({ model: 'amd-sev-snp' }).resources)).toBeUndefined()
  })
})
