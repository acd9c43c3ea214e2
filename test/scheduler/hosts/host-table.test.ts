import { describe, expect, it } from 'vitest'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { ChangeLog } from '../../../src/scheduler/hosts/change-log.ts'
import { type ClaimInFlight, HostTable } from '../../../src/scheduler/hosts/host-table.ts'
import type { HostChanges } from '../../../src/scheduler/placement/feed.ts'
import { aHost } from '../builders.ts'

const LIVE = { isUp: () => true, lastSeenUp: () => undefined, secondsSilent: () => undefined }

function changes(hosts: readonly HostState[], more: Partial<HostChanges> = {}): HostChanges {
  return { cursor: '1', hosts, uses: [], removed: [], complete: false, ...more }
}

function aTable(...hosts: readonly HostState[]) {
  const table = new HostTable(LIVE)
  table.apply(changes(hosts, { complete: true }), 0)
  const of = (name: string) => {
    const [host] = table.list([name])
    const vcpu = host?.root.inventories.VCPU
    const slots = host?.pools[0]?.inventories.MEM_ENCRYPTION_CONTEXT?.used
    return host && { vcpu: vcpu?.used, version: vcpu?.version, slots, instances: host.instances }
  }
  return { table, of }
}

const ALLOCATIONS = [
  { provider: 'cn-1', resource_class: 'VCPU', amount: 2 },
  { provider: 'cn-1', resource_class: 'MEMORY_MB', amount: 512, pinned: true },
  { provider: 'cn-1_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
]
const use = (resource_class: string, used: number, version: number, provider = 'cn-1') => ({
  provider,
  resource_class,
  used,
  pinned: 0,
  version,
})
const aHostAt = (vcpu: number, version: number, instances = 0) => {
  const host = aHost('cn-1', { slots: { 'amd-sev': 4 }, used: { VCPU: vcpu }, state: { instances } })
  const { VCPU, ...others } = host.root.inventories
  return {
    ...host,
    root: { ...host.root, inventories: { ...others, VCPU: { ...VCPU, version } } },
  } as HostState
}

describe('hosts in memory', () => {
  it('count a claim from when it is on its way, and no more when it has failed', () => {
    const { table, of } = aTable(aHostAt(0, 1))
    const before = table.list()

    const claim = table.begin(0, ALLOCATIONS)
    const other = table.begin(0, ALLOCATIONS)

    expect(of('cn-1')).toEqual({ vcpu: 4, version: 1, slots: 2, instances: 2 })
    expect(table.list()[0]?.root.inventories.MEMORY_MB).toMatchObject({ used: 1024, pinned: 1024 })
    expect(table.asRead()).toEqual(before)
    claim.failed()
    other.failed()
    expect(table.list()).toEqual(before)
  })

  it('are told as they were read, too, where claims are on their way or have ended since', () => {
    const { table } = aTable(aHostAt(0, 1), aHost('cn-2'))
    const asRead = (...own: ClaimInFlight[]) => table.asRead(own).map(({ root }) => root.inventories.VCPU?.used)
    expect(asRead()).toEqual([])

    const [claim, other] = [table.begin(0, ALLOCATIONS), table.begin(0, ALLOCATIONS)]
    expect([asRead(), asRead(other)]).toEqual([[0], [2]])
    const begun = table.told
    claim.made([use('VCPU', 2, 2)])
    expect(asRead()).toEqual([0])
    // It may have been read before the claim was made.
    table.apply(changes([]), begun)
    expect(asRead()).toEqual([0])
    other.made([use('VCPU', 4, 3)])
    table.apply(changes([aHostAt(2, 2)]), table.told - 1)
    expect(asRead()).toEqual([2])

    table.apply(changes([]), table.told)

    expect(asRead()).toEqual([])
    expect(table.list()[0]?.root.inventories.VCPU?.used).toBe(4)
  })

  it('have what the database told at the end of a claim, made or refused', () => {
    const { table, of } = aTable(aHostAt(0, 1))

    table.begin(0, ALLOCATIONS).made([use('VCPU', 12, 7), use('MEM_ENCRYPTION_CONTEXT', 3, 4, 'cn-1_amd_sev')])
    expect(of('cn-1')).toEqual({ vcpu: 12, version: 7, slots: 3, instances: 1 })
    table.begin(0, ALLOCATIONS).failed([use('VCPU', 64, 8), use('PCI_DEVICE', 1, 1)])
    expect(of('cn-1')).toEqual({ vcpu: 64, version: 8, slots: 3, instances: 1 })
    // Told late: something newer is known.
    table.begin(0, ALLOCATIONS).failed([use('VCPU', 9, 5)])
    expect(of('cn-1')).toEqual({ vcpu: 64, version: 8, slots: 3, instances: 1 })
  })

  it('count each instance of claims that went together, and none twice that has been read', () => {
    const { table, of } = aTable(aHostAt(0, 1))
    const together = [table.begin(0, ALLOCATIONS), table.begin(0, ALLOCATIONS)]
    for (const claim of together) claim.made([use('VCPU', 4, 3), use('MEM_ENCRYPTION_CONTEXT', 2, 3, 'cn-1_amd_sev')])
    expect(of('cn-1')).toEqual({ vcpu: 4, version: 3, slots: 2, instances: 2 })

    const claim = table.begin(0, ALLOCATIONS)
    table.apply(changes([aHostAt(6, 4, 3)]), table.told)
    claim.made([use('VCPU', 6, 4)])

    expect(of('cn-1')).toEqual({ vcpu: 6, version: 4, slots: 0, instances: 3 })
  })

  it('have a claim that was made, and of which nothing was told, until they are read again', () => {
    const { table, of } = aTable(aHostAt(0, 1))

    table.begin(0, ALLOCATIONS).made()

    expect(of('cn-1')).toEqual({ vcpu: 2, version: 1, slots: 1, instances: 1 })
    table.apply(changes([aHostAt(30, 2, 5)]), table.told)
    expect(of('cn-1')).toEqual({ vcpu: 30, version: 2, slots: 0, instances: 5 })
  })

  it('have their use as it was read, where nothing else has changed, and no guess any more', () => {
    const { table, of } = aTable(aHostAt(0, 1))
    const claim = table.begin(0, ALLOCATIONS)
    // The claim is in what is read before its end is heard of, and then counts twice.
    const read = { host: 'cn-1', instances: 1, inventories: [use('VCPU', 2, 2)] }
    table.apply(changes([], { uses: [read] }), table.told)
    claim.made()
    expect(of('cn-1')).toEqual({ vcpu: 4, version: 2, slots: 1, instances: 2 })

    const uses = [{ ...read, inventories: [use('VCPU', 2, 2), use('MEM_ENCRYPTION_CONTEXT', 1, 2, 'cn-1_amd_sev')] }]
    table.apply(changes([], { uses }), table.told)
    expect(of('cn-1')).toEqual({ vcpu: 2, version: 2, slots: 1, instances: 1 })

    table.apply(changes([], { uses: [{ ...read, host: 'cn-9' }] }), table.told)
    expect(table.size).toBe(1)
  })

  it('are as they were read, but for what a claim told since the reading began', () => {
    const { table, of } = aTable(aHostAt(0, 1))
    const told = table.told
    table.begin(0, ALLOCATIONS).made([use('VCPU', 12, 7)])

    table.apply(changes([aHostAt(10, 6, 0)]), told)
    expect(of('cn-1')).toEqual({ vcpu: 12, version: 7, slots: 0, instances: 1 })
    table.apply(changes([aHostAt(14, 8, 2)]), told)
    expect(of('cn-1')).toEqual({ vcpu: 14, version: 8, slots: 0, instances: 2 })
    // An inventory that was removed and offered anew begins to count anew: read since, so it is true.
    table.apply(changes([aHostAt(0, 1, 0)]), table.told)
    expect(of('cn-1')).toEqual({ vcpu: 0, version: 1, slots: 0, instances: 0 })
  })

  it('have an inventory that was removed and offered anew as it was read, whatever claims told meanwhile of the one before or of others', () => {
    const { table, of } = aTable(aHostAt(9, 8, 3))
    const told = table.told

    // Refused; told of the new one, whose count is lower; and of the slots, which were not in what is read.
    table.begin(0, ALLOCATIONS).failed()
    table.begin(0, ALLOCATIONS).made([use('VCPU', 2, 3)])
    table.begin(0, ALLOCATIONS).made([use('MEM_ENCRYPTION_CONTEXT', 1, 2, 'cn-1_amd_sev')])
    table.apply(changes([aHostAt(2, 3, 1)]), told)

    expect(of('cn-1')).toMatchObject({ vcpu: 2, version: 3, slots: 1 })
    // Nothing of it has changed since: no reading will tell it again.
    table.apply(changes([]), table.told)
    expect(of('cn-1')).toMatchObject({ vcpu: 2, version: 3, slots: 1 })
  })

  it('have of what claims told since the reading began no more than what is used', () => {
    const { table } = aTable(aHostAt(0, 1))
    const told = table.told
    table.begin(0, ALLOCATIONS).made([use('VCPU', 12, 7)])

    const read = aHostAt(10, 6)
    const { VCPU, ...others } = read.root.inventories
    const shrunk = { ...VCPU, total: 8, capacity: 8, offered: false } as NonNullable<typeof VCPU>
    table.apply(changes([{ ...read, root: { ...read.root, inventories: { ...others, VCPU: shrunk } } }]), told)

    expect(table.list()[0]?.root.inventories.VCPU).toEqual({ ...shrunk, used: 12, version: 7 })
  })

  it('are not looked at again when they are read as they are known, only seen later', () => {
    const read = { ...aHostAt(0, 1), aggregates: [{ name: 'fast', metadata: { disk: 'ssd' } }] }
    const { table, of } = aTable(read)
    const again = (change: Partial<HostState> = {}) => structuredClone({ ...read, ...change })
    const isLookedAt = (host: HostState) => {
      const before = table.changes
      table.apply(changes([host]), table.told)
      return table.changes > before
    }

    expect(isLookedAt(again({ lastSeenUp: new Date(), secondsSinceSeen: 7, up: false }))).toBe(false)
    table.begin(0, ALLOCATIONS).made([use('VCPU', 2, 2)])
    expect(isLookedAt(aHostAt(2, 2, 1))).toBe(true)
    expect(isLookedAt(aHostAt(2, 2, 1))).toBe(false)

    expect(of('cn-1')).toEqual({ vcpu: 2, version: 2, slots: 0, instances: 1 })
    expect(table.asRead()).toEqual([])
    expect(isLookedAt(aHostAt(2, 3, 1))).toBe(true)
    expect(isLookedAt({ ...aHostAt(2, 3, 1), disabledReason: 'its fan' })).toBe(true)
    expect(isLookedAt({ ...aHostAt(2, 3, 1), disabledReason: 'its fan', ioOps: 1 })).toBe(true)
    expect(isLookedAt({ ...aHostAt(2, 3, 1), disabledReason: 'its fan', ioOps: 1, traits: ['X'] } as HostState)).toBe(
      true,
    )
  })

  it('go when they are removed, or are not among all there are, and their places are given to others', () => {
    const { table } = aTable(aHost('cn-1'), aHost('cn-2'), aHost('cn-3'))
    const claim = table.begin(1, ALLOCATIONS)

    table.apply(changes([], { removed: ['cn-2', 'cn-9'] }), table.told)
    expect(table.at(1)).toBeUndefined()
    expect(table.aged(1)).toBeUndefined()
    expect(table.asRead()).toEqual([])
    table.apply(changes([aHost('cn-4')]), table.told)
    claim.made()

    expect(table.at(1)).toEqual(aHost('cn-4'))
    table.apply(changes([aHost('cn-1')], { complete: true }), table.told)
    expect(table.list().map(({ host }) => host)).toEqual(['cn-1'])
    expect([table.size, table.places]).toEqual([1, 3])
  })

  it('are listed by name, with the signs of life as of now', () => {
    const up = new Map([['cn-2', false]])
    const seen = new Date('2026-04-01T00:00:00Z')
    const table = new HostTable({
      isUp: (host) => up.get(host) ?? true,
      lastSeenUp: (host) => (host === 'cn-2' ? seen : undefined),
      secondsSilent: (host) => (host === 'cn-2' ? 77 : undefined),
    })
    table.apply(changes([aHost('cn-2'), aHost('cn-1')]), 0)

    expect(table.list().map(({ host, up: isUp, secondsSinceSeen }) => [host, isUp, secondsSinceSeen])).toEqual([
      ['cn-1', true, 3],
      ['cn-2', false, 77],
    ])
    up.set('cn-2', true)
    table.liveOrDie('cn-2')
    table.liveOrDie('cn-9')
    expect(table.list(['cn-2', 'cn-9'])).toMatchObject([{ host: 'cn-2', up: true, lastSeenUp: seen }])
  })

  it('are as many as there are', () => {
    const names = Array.from({ length: 1000 }, (_, n) => `cn-${String(n).padStart(4, '0')}`)

    const { table } = aTable(...names.map((name) => aHost(name)))

    expect(table.list().map(({ host }) => host)).toEqual(names)
    expect(new Set(table.nameHashes.subarray(0, 1000)).size).toBe(1000)
  })
})

describe('the log of changes', () => {
  it('gives the places that changed since, across its end, and knows what it has forgotten', () => {
    const log = new ChangeLog(8)
    for (let place = 0; place < 13; place++) log.add(place)

    expect(log.changes).toBe(13)
    expect([13, 12, 9, 5].map((changes) => [...(log.after(changes) ?? ['forgotten'])])).toEqual([
      [],
      [12],
      [9, 10, 11, 12],
      [5, 6, 7, 8, 9, 10, 11, 12],
    ])
    expect(log.after(4)).toBeUndefined()
  })
})
