import { describe, expect, it } from 'vitest'
import type { ServerGroupPolicy } from '../../../src/objects/server-group.ts'
import { weighHosts } from '../../../src/scheduler/weigh-hosts.ts'
import { buildFailureWeigher } from '../../../src/scheduler/weighers/build-failure.ts'
import { defaultWeighers } from '../../../src/scheduler/weighers/default-weighers.ts'
import { diskWeigher } from '../../../src/scheduler/weighers/disk.ts'
import { ioOpsWeigher } from '../../../src/scheduler/weighers/io-ops.ts'
import {
  softAffinityWeigher,
  softAntiAffinityWeigher,
} from '../../../src/scheduler/weighers/server-group-soft-affinity.ts'
import { aHost, aRequest } from '../builders.ts'

const names = (ranking: ReturnType<typeof weighHosts>) => ranking.map(({ host }) => host.host)

function ofGroup(policy: ServerGroupPolicy) {
  const members = new Map([
    ['two', 2],
    ['one', 1],
  ])
  const group = { uuid: aRequest().spec.instance_uuid, name: 'db', policy, maxServerPerHost: 1, members }
  return { ...aRequest(), hinted: { group, hostOf: new Map<string, string>() } }
}

describe('the weighers that come along', () => {
  it('prefer more free disk', () => {
    const hosts = [aHost('full', { used: { DISK_GB: 900 } }), aHost('empty')]

    expect(names(weighHosts(hosts, aRequest(), [diskWeigher(1)]))).toEqual(['empty', 'full'])
  })

  it("prefer hosts with fewer builds under way, by Nova's negative multiplier; one that does not tell has none", () => {
    const busy = aHost('busy', { state: { ioOps: 8 } })
    const calm = aHost('calm', { state: { ioOps: 2 } })
    const silent = aHost('silent', { state: { ioOps: undefined } })

    expect(names(weighHosts([busy, calm, silent], aRequest(), [ioOpsWeigher(-1)]))).toEqual(['silent', 'calm', 'busy'])
  })

  it('put hosts where builds failed in a row after all others, whatever these lack', () => {
    const failing = aHost('failing', { state: { failedBuilds: 1 } })
    const full = aHost('full', { used: { MEMORY_MB: 60_000, VCPU: 60, DISK_GB: 900 }, state: { ioOps: 9 } })

    const ranking = weighHosts([failing, full], aRequest(), defaultWeighers())

    expect(names(ranking)).toEqual(['full', 'failing'])
    expect(ranking[1]?.weights.BuildFailure).toBe(-1_000_000)
    expect(names(weighHosts([failing, full], aRequest(), [buildFailureWeigher(-1)]))).toEqual(['failing', 'full'])
  })

  it('keep a soft group together, or apart, and see nothing of other policies', () => {
    const hosts = [aHost('none'), aHost('one'), aHost('two')]
    const both = [softAffinityWeigher(1), softAntiAffinityWeigher(1)]

    expect(names(weighHosts(hosts, ofGroup('soft-affinity'), both))).toEqual(['two', 'one', 'none'])
    expect(names(weighHosts(hosts, ofGroup('soft-anti-affinity'), both))).toEqual(['none', 'one', 'two'])
    const weights = weighHosts(hosts, ofGroup('affinity'), both).map(({ weight }) => weight)
    expect(weights).toEqual([0, 0, 0])
  })

  it('say what they look at of a request beside its kind, so that answers are remembered', () => {
    const concerns = (request: ReturnType<typeof aRequest>) =>
      Object.fromEntries(defaultWeighers().map(({ name, concern }) => [name, concern?.(request)]))

    const ofSoft = concerns(ofGroup('soft-affinity'))
    expect(concerns(aRequest({ model: 'amd-sev' }))).toEqual({
      RAM: undefined,
      CPU: undefined,
      Disk: undefined,
      IoOps: undefined,
      BuildFailure: undefined,
      ServerGroupSoftAffinity: undefined,
      ServerGroupSoftAntiAffinity: undefined,
      MemEncryptionContext: undefined,
    })
    expect(ofSoft.ServerGroupSoftAffinity).toContain('[["two",2],["one",1]]')
    expect(ofSoft.ServerGroupSoftAntiAffinity).toBeUndefined()
  })
})
