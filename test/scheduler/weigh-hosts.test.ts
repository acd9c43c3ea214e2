import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import type { SchedulingRequest } from '../../src/scheduler/scheduling-request.ts'
import { weighHosts } from '../../src/scheduler/weigh-hosts.ts'
import { cpuWeigher } from '../../src/scheduler/weighers/cpu.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import type { HostWeigher } from '../../src/scheduler/weighers/host-weigher.ts'
import { memEncryptionContextWeigher } from '../../src/scheduler/weighers/mem-encryption-context.ts'
import { ramWeigher } from '../../src/scheduler/weighers/ram.ts'
import { aHost, aRequest } from './builders.ts'

const names = (ranking: ReturnType<typeof weighHosts>) => ranking.map(({ host }) => host.host)

describe('weighing hosts', () => {
  it('puts the host with the highest sum first, and shows each part of it', () => {
    const hosts = [
      aHost('cn-1', { memoryMb: 65_536, vcpus: 64, used: { MEMORY_MB: 32_768 } }),
      aHost('cn-2', { memoryMb: 65_536, vcpus: 64, used: { VCPU: 16 } }),
      aHost('cn-3', { memoryMb: 65_536, vcpus: 64, used: { MEMORY_MB: 16_384, VCPU: 32 } }),
    ]

    const ranking = weighHosts(hosts, aRequest(), [ramWeigher(1), cpuWeigher(2)])

    expect(ranking.map(({ host, ...rest }) => ({ host: host.host, ...rest }))).toEqual([
      { host: 'cn-1', weight: 2, weights: { RAM: 0, CPU: 2 } },
      { host: 'cn-2', weight: 2, weights: { RAM: 1, CPU: 1 } },
      { host: 'cn-3', weight: 0.5, weights: { RAM: 0.5, CPU: 0 } },
    ])
  })

  it('has no opinion where all hosts are equal, and none at all on no hosts', () => {
    expect(weighHosts([aHost('cn-1')], aRequest(), [ramWeigher(1)])).toMatchObject([{ weight: 0, weights: { RAM: 0 } }])
    expect(weighHosts([], aRequest(), [ramWeigher(1)])).toEqual([])
  })

  it('turns an opinion round with a negative multiplier', () => {
    const hosts = [aHost('full', { used: { MEMORY_MB: 60_000 } }), aHost('empty')]

    expect(names(weighHosts(hosts, aRequest(), [ramWeigher(1)]))).toEqual(['empty', 'full'])
    expect(names(weighHosts(hosts, aRequest(), [ramWeigher(-1)]))).toEqual(['full', 'empty'])
  })

  it('puts a host last that a weigher cannot tell about', () => {
    const weigher: HostWeigher = {
      name: 'Odd',
      multiplier: 1,
      weigh: ({ host }) => (host === 'cn-1' ? Number.NaN : host === 'cn-2' ? 1 : 2),
    }

    const ranking = weighHosts([aHost('cn-1'), aHost('cn-2'), aHost('cn-3')], aRequest(), [weigher])

    expect(ranking.map(({ weight }) => weight)).toEqual([1, 0, 0])
    expect(ranking[0]?.host.host).toBe('cn-3')
  })

  it('spreads a burst evenly over hosts of equal weight', () => {
    const hosts = Array.from({ length: 10 }, (_, n) => aHost(`cn-${n}`))
    const firsts = new Map<string | undefined, number>()
    for (let n = 0; n < 1000; n++) {
      const [best] = names(weighHosts(hosts, aRequest({ spec: { instance_uuid: randomUUID() } }), defaultWeighers()))
      firsts.set(best, (firsts.get(best) ?? 0) + 1)
    }

    expect(firsts.size).toBe(10)
    // 100 expected of each, standard deviation 9.5; six of them are never left by chance.
    expect(Math.min(...firsts.values())).toBeGreaterThan(43)
    expect(Math.max(...firsts.values())).toBeLessThan(157)
  })

  it('gives the same order for the same instance, in whatever order the hosts come', () => {
    const hosts = Array.from({ length: 10 }, (_, n) => aHost(`cn-${n}`))

    const order = names(weighHosts(hosts, aRequest(), defaultWeighers()))

    expect(names(weighHosts(hosts.toReversed(), aRequest(), defaultWeighers()))).toEqual(order)
    expect(order).not.toEqual(order.toSorted())
  })
})

describe('the weigher of encryption slots', () => {
  const none = aHost('none')
  const many = aHost('many', { slots: { 'amd-sev': 15 } })
  const few = aHost('few', { slots: { 'amd-sev': 15 }, used: { MEM_ENCRYPTION_CONTEXT: 13 } })
  const other = aHost('other', { slots: { 'amd-sev': 4, 'amd-sev-es': 400 } })
  const weigher = memEncryptionContextWeigher(1)

  it('steers an ordinary guest away from free slots of any model', () => {
    expect([none, many, few, other].map((host) => weigher.weigh(host, aRequest()))).toEqual([0, -1021, -1008, -1410])
  })

  it('keeps ordinary guests on a host without free slots while it has room, however few others have', () => {
    const busy = aHost('busy', { used: { VCPU: 60, MEMORY_MB: 60_000, DISK_GB: 900 }, state: { ioOps: 9 } })
    const four = aHost('four', { slots: { 'amd-sev-snp': 4 } })

    expect(names(weighHosts([four, many, busy], aRequest(), defaultWeighers()))).toEqual(['busy', 'four', 'many'])
  })

  it('steers an encrypted guest to where its model fits tightest', () => {
    const request = aRequest({ model: 'amd-sev' })

    expect([many, few, other].map((host) => weigher.weigh(host, request))).toEqual([-15, -2, -4])
  })

  it('tells hosts apart beside one whose slots nobody can count', () => {
    const counted = aHost('counted', { slots: { 'amd-sev': 754 } })
    const uncounted = aHost('uncounted', { slots: { 'amd-sev': 2_147_483_647 } })
    const weights = (request: SchedulingRequest) =>
      weighHosts([uncounted, counted, none], request, [weigher]).map(({ host, weight }) => [host.host, weight])

    expect(weights(aRequest())).toEqual([
      ['none', 1],
      ['counted', 0.125249],
      ['uncounted', 0],
    ])
    expect(weigher.weigh(uncounted, aRequest({ model: 'amd-sev' }))).toBe(-1006)
  })

  it('outweighs by default all that tells an idle host from a busy one', () => {
    const used = { VCPU: 60, MEMORY_MB: 60_000, DISK_GB: 900 }
    const busy = aHost('busy', { used, state: { ioOps: 9 } })

    expect(names(weighHosts([many, busy], aRequest(), defaultWeighers()))).toEqual(['busy', 'many'])
    expect(names(weighHosts([many, busy], aRequest(), defaultWeighers({ memEncryptionContext: 0 })))).toEqual([
      'many',
      'busy',
    ])
  })
})
