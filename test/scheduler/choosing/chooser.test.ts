import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import { MAX_HOSTS_BY_NAME } from '../../../src/objects/scheduling-report.ts'
import type { ServerGroupPolicy } from '../../../src/objects/server-group.ts'
import { Chooser, type ChooserOptions } from '../../../src/scheduler/choosing/chooser.ts'
import { filterHosts } from '../../../src/scheduler/filter-hosts.ts'
import { defaultFilters } from '../../../src/scheduler/filters/default-filters.ts'
import type { HostFilter } from '../../../src/scheduler/filters/host-filter.ts'
import type { HintedHosts } from '../../../src/scheduler/hinted-hosts.ts'
import type { HostState } from '../../../src/scheduler/host-state.ts'
import { HostTable } from '../../../src/scheduler/hosts/host-table.ts'
import { LOST_CLAIM } from '../../../src/scheduler/no-valid-host.ts'
import { schedulingReport, summaryOf } from '../../../src/scheduler/scheduling-report.ts'
import type { SchedulingRequest } from '../../../src/scheduler/scheduling-request.ts'
import { weighHosts } from '../../../src/scheduler/weigh-hosts.ts'
import { defaultWeighers } from '../../../src/scheduler/weighers/default-weighers.ts'
import type { HostWeigher } from '../../../src/scheduler/weighers/host-weigher.ts'
import { runs } from '../../support/runs.ts'
import { aHost, aRequest } from '../builders.ts'

const NAMES = Array.from({ length: 30 }, (_, n) => `cn-${n}`)
const NEIGHBOURS = ['22222222-2222-4222-8222-222222222222', '33333333-3333-4333-8333-333333333333']
const MODELS: readonly MemEncryptionModel[] = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']

const SNP_IS_OFF = 'SEV-SNP is off while 1 SEV-ES slot is in use: a host runs one of the two'

/** Life as the states say it: what changes is put into the table whole. */
function aTable() {
  const up = new Map<string, boolean>()
  const table = new HostTable({
    isUp: (host) => up.get(host) ?? true,
    lastSeenUp: () => undefined,
    secondsSilent: () => undefined,
  })
  const put = (...hosts: readonly HostState[]) => {
    for (const host of hosts) up.set(host.host, host.up)
    table.apply({ cursor: '', hosts, uses: [], removed: [], complete: false }, table.told)
  }
  const remove = (host: string) =>
    table.apply({ cursor: '', hosts: [], uses: [], removed: [host], complete: false }, table.told)
  return { table, put, remove }
}

const someHosts = fc.subarray(NAMES, { maxLength: 4 })

const host: fc.Arbitrary<HostState> = fc
  .record({
    name: fc.constantFrom(...NAMES),
    vcpus: fc.constantFrom(4, 16, 64),
    memoryMb: fc.constantFrom(4096, 65_536),
    slots: fc.dictionary(fc.constantFrom(...MODELS), fc.integer({ min: 1, max: 4 })),
    vcpuUsed: fc.integer({ min: 0, max: 16 }),
    memoryUsed: fc.integer({ min: 0, max: 8 }),
    slotsUsed: fc.integer({ min: 0, max: 4 }),
    up: fc.boolean(),
    disabled: fc.boolean(),
    machine: fc.constantFrom('q35', 'pc'),
    uefi: fc.boolean(),
    zone: fc.constantFrom('nova', 'far'),
    tenant: fc.constantFrom(undefined, undefined, undefined, 'a', 'b'),
    failedBuilds: fc.integer({ min: 0, max: 2 }),
  })
  .map((one) =>
    aHost(one.name, {
      vcpus: one.vcpus,
      memoryMb: one.memoryMb,
      slots: one.slots,
      used: { VCPU: one.vcpuUsed, MEMORY_MB: one.memoryUsed * 1024, MEM_ENCRYPTION_CONTEXT: one.slotsUsed },
      state: {
        up: one.up,
        disabled: one.disabled,
        defaultMachineType: one.machine,
        supportsUefi: one.uefi,
        availabilityZone: one.zone,
        aggregates: one.tenant ? [{ name: 'of a tenant', metadata: { filter_tenant_id: one.tenant } }] : [],
        failedBuilds: one.failedBuilds,
      },
    }),
  )

const request: fc.Arbitrary<SchedulingRequest> = fc
  .record({
    model: fc.option(fc.constantFrom(...MODELS), { nil: undefined }),
    vcpus: fc.constantFrom(1, 8),
    memoryMb: fc.constantFrom(1024, 4096),
    ignored: someHosts,
    forced: fc.oneof({ weight: 3, arbitrary: fc.constant<string[]>([]) }, someHosts),
    image: fc.option(fc.constantFrom({ hw_machine_type: 'q35' }, { hw_firmware_type: 'uefi' }), { nil: undefined }),
    uuid: fc.uuid(),
    project: fc.constantFrom(null, 'a', 'b'),
    zone: fc.constantFrom(null, null, 'nova', 'far'),
    group: fc.option(
      fc.record({
        policy: fc.constantFrom('affinity', 'anti-affinity', 'soft-affinity', 'soft-anti-affinity'),
        members: fc.dictionary(fc.constantFrom(...NAMES), fc.integer({ min: 1, max: 3 }), { maxKeys: 4 }),
      }),
      { nil: undefined },
    ),
    neighbours: fc.array(fc.constantFrom(...NEIGHBOURS), { maxLength: 2 }),
    isTogether: fc.boolean(),
    isLikeOthers: fc.boolean(),
  })
  .map(({ model, vcpus, memoryMb, image, uuid, isLikeOthers, ...own }) => {
    const ofKind = { ...(model && { model }), ...(image && !model && { image }), vcpus, memoryMb }
    if (isLikeOthers) return aRequest({ ...ofKind, spec: { instance_uuid: uuid } })
    const { ignored, forced, project, zone, neighbours, isTogether, group } = own
    const spec = {
      instance_uuid: uuid,
      project_id: project,
      ignore_hosts: ignored,
      force_hosts: forced,
      availability_zone: zone,
      scheduler_hints: {
        group: null,
        same_host: isTogether ? neighbours : [],
        different_host: isTogether ? [] : neighbours,
      },
    }
    const hinted: HintedHosts = {
      group: group && {
        uuid: NEIGHBOURS[0] as string,
        name: 'of two',
        policy: group.policy as ServerGroupPolicy,
        maxServerPerHost: 2,
        members: new Map(Object.entries(group.members)),
      },
      hostOf: new Map(neighbours.map((neighbour, n) => [neighbour, NAMES[n] as string])),
    }
    return {
      ...aRequest({ ...(model && { model }), ...(image && !model && { image }), vcpus, memoryMb, spec }),
      hinted,
    }
  })

const ownFilter: HostFilter = {
  name: 'Own',
  reject: ({ host: name }, { spec }) => (name.length === 5 && spec.project_id === 'a' ? 'not for a' : undefined),
}
const ownWeigher: HostWeigher = {
  name: 'Odd',
  multiplier: -0.7,
  weigh: ({ host: name }) => (name === 'cn-7' ? Number.NaN : Number(name.slice(3)) / 7),
}

type Step =
  | { readonly kind: 'put'; readonly hosts: readonly HostState[] }
  | { readonly kind: 'remove'; readonly host: string }
  | { readonly kind: 'ask'; readonly request: SchedulingRequest; readonly lost: readonly string[] }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('put' as const), hosts: fc.array(host, { maxLength: 12 }) }) },
  fc.record({ kind: fc.constant('remove' as const), host: fc.constantFrom(...NAMES) }),
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      request,
      lost: fc.oneof({ weight: 3, arbitrary: fc.constant<string[]>([]) }, someHosts),
    }),
  },
)

/** The plain way: every host, every filter, every weigher, each time. */
function plainly(options: Omit<ChooserOptions, 'hosts'>, table: HostTable, asked: SchedulingRequest, lost: string[]) {
  const places = Array.from({ length: table.places }, (_, place) => table.at(place) ?? [])
  const wasLost: HostFilter = {
    name: LOST_CLAIM,
    reject: ({ host: name }) => (lost.includes(name) ? 'lost' : undefined),
  }
  const filters = [wasLost, ...options.filters, ...(options.extraFilters ?? [])]
  const { passed, rejections } = filterHosts(places.flat(), asked, filters)
  const weighers = [...options.weighers, ...(options.extraWeighers ?? [])]
  return schedulingReport(summaryOf(rejections), weighHosts(passed, asked, weighers, options.seed))
}

describe('choosing with what is remembered of earlier requests', () => {
  it.each<[string, Omit<ChooserOptions, 'hosts'>]>([
    ['the filters and weighers that come along', { filters: defaultFilters(), weighers: defaultWeighers() }],
    [
      "filters and weighers of the user's own, a seed, and memory for hardly anything",
      {
        filters: defaultFilters(),
        weighers: defaultWeighers({ ram: -1, cpu: 0 }),
        extraFilters: [ownFilter],
        extraWeighers: [ownWeigher],
        seed: 'other',
        cacheBytes: 1,
      },
    ],
  ])('gives exactly what looking at everything gives, after any history: with %s', (_name, options) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const { table, put, remove } = aTable()
        const chooser = new Chooser({ hosts: table, ...options })
        for (const one of steps) {
          if (one.kind === 'put') put(...one.hosts)
          else if (one.kind === 'remove') remove(one.host)
          else {
            const considered = chooser.consider(one.request, new Map(one.lost.map((name) => [name, 'lost'])))

            expect(schedulingReport(considered.rejections, considered.best, considered.passed)).toEqual(
              plainly(options, table, one.request, [...one.lost]),
            )
          }
        }
      }),
      { numRuns: runs(100) },
    )
  })

  it('says the numbers of as few claims on their way as are reason enough, for some may have been read already', () => {
    const { table, put } = aTable()
    put(aHost('cn-1', { slots: { 'amd-sev': 2 }, used: { MEM_ENCRYPTION_CONTEXT: 1 } }))
    const chooser = new Chooser({ hosts: table, filters: defaultFilters(), weighers: [] })
    const slot = { provider: 'cn-1_amd_sev', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }
    const reasons = () => chooser.consider(aRequest({ model: 'amd-sev' })).rejections.named.map(({ reason }) => reason)

    table.begin(0, [slot])
    table.begin(0, [slot])
    expect(reasons()).toEqual(['2 of 2 SEV slots used, 0 reserved'])
    put(aHost('cn-1', { slots: { 'amd-sev': 2 }, used: { MEM_ENCRYPTION_CONTEXT: 2 } }))

    expect(reasons()).toEqual(['2 of 2 SEV slots used, 0 reserved'])
  })

  it('looks only at hosts that changed, whoever asks for the same', () => {
    const looks: string[] = []
    const counting: HostFilter = {
      name: 'Counting',
      reject: ({ host: name }) => {
        looks.push(name)
        return undefined
      },
    }
    const { table, put } = aTable()
    put(...NAMES.map((name) => aHost(name)))
    const chooser = new Chooser({ hosts: table, filters: [counting], weighers: defaultWeighers() })
    const ask = (image: string) => {
      const spec = { instance_uuid: randomUUID(), project_id: randomUUID(), image: { name: image } as never }
      chooser.consider(aRequest({ spec }))
      return looks.splice(0)
    }

    expect(ask('first')).toEqual(NAMES)
    expect(ask('second')).toEqual([])
    put(aHost('cn-3', { used: { VCPU: 1 } }))
    expect(ask('third')).toEqual(['cn-3'])
  })

  it('keeps up with what changes for the kinds of requests that came of late, before the next of them comes', async () => {
    const looks: string[] = []
    const counting: HostFilter = {
      name: 'Counting',
      reject: ({ host: name }, { spec }) => {
        looks.push(`${name} for ${spec.flavor.vcpus}`)
        return undefined
      },
    }
    const { table, put } = aTable()
    put(aHost('cn-1'), aHost('cn-2'))
    const chooser = new Chooser({ hosts: table, filters: [counting], weighers: [] })
    const ask = (vcpus: number) => chooser.consider(aRequest({ vcpus }))
    const change = async (used: number) => {
      looks.splice(0)
      put(aHost('cn-2', { used: { VCPU: used } }))
      await chooser.keepUp()
      return looks.splice(0)
    }
    ask(1)
    ask(2)

    expect(await change(3)).toEqual(['cn-2 for 2', 'cn-2 for 1'])
    ask(1)
    expect(looks).toEqual([])
    for (let used = 4; used < 32; used++) await change(used)
    ask(1)
    expect(await change(33)).toEqual(['cn-2 for 1', 'cn-2 for 2'])
    expect(await change(34)).toEqual(['cn-2 for 1'])
  })

  it('keeps up with no more than kinds of requests, and only for as long as leaves time for those who ask', async () => {
    let nowMs = 0
    const looks: string[] = []
    const slow = (name: string, ms: number): HostFilter => ({
      name,
      reject: (_, { spec }) => {
        nowMs += ms
        looks.push(`${name} for ${spec.flavor.vcpus}`)
        return undefined
      },
    })
    const ofProject: HostFilter = { ...slow('of a project', 1), concern: ({ spec }) => spec.project_id ?? '' }
    const { table, put } = aTable()
    put(aHost('cn-1'))
    const chooser = new Chooser({ hosts: table, filters: [slow('all', 60), ofProject], weighers: [], now: () => nowMs })
    for (const vcpus of [1, 2, 3]) chooser.consider(aRequest({ vcpus, spec: { project_id: `p${vcpus}` } }))
    looks.splice(0)

    put(aHost('cn-1', { used: { VCPU: 3 } }))
    await chooser.keepUp()

    expect(looks).toEqual(['all for 3', 'all for 2'])
    await chooser.keepUp()
    expect(looks.splice(0, 3)).toEqual(['all for 3', 'all for 2', 'all for 1'])
  })

  it('knows at once that a claim on its way puts its host into one mode, and that the claim has failed', () => {
    const { table, put } = aTable()
    put(aHost('cn-1', { slots: { 'amd-sev': 2, 'amd-sev-es': 2, 'amd-sev-snp': 2 } }))
    const chooser = new Chooser({ hosts: table, filters: defaultFilters(), weighers: defaultWeighers() })
    const refusals = () =>
      MODELS.map((model) =>
        chooser
          .consider(aRequest({ model }))
          .rejections.named.map(({ reason }) => reason)
          .join(),
      )
    expect(refusals()).toEqual(['', '', ''])

    const slot = { provider: 'cn-1_amd_sev_es', resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }
    const claims = [table.begin(0, [slot]), table.begin(0, [slot])]

    // Of claims on their way the reasons count as few as suffice.
    expect(refusals()).toEqual(['', '2 of 2 SEV-ES slots used, 0 reserved', SNP_IS_OFF])
    claims[0]?.failed()
    expect(refusals()).toEqual(['', '', SNP_IS_OFF])
    claims[1]?.failed()
    expect(refusals()).toEqual(['', '', ''])
  })

  it('ranks no more hosts than are told by name, the best of all', () => {
    const { table, put } = aTable()
    put(...Array.from({ length: 300 }, (_, n) => aHost(`cn-${n}`, { used: { VCPU: n % 64 } })))
    const asked = aRequest()
    const chooser = new Chooser({ hosts: table, filters: defaultFilters(), weighers: defaultWeighers() })

    const { best, passed } = chooser.consider(asked)

    const all = weighHosts(table.list(), asked, defaultWeighers())
    expect(best.map(({ host: one }) => one.host)).toEqual(
      all.slice(0, MAX_HOSTS_BY_NAME).map(({ host: one }) => one.host),
    )
    expect(passed).toBe(all.length)
  })
})
