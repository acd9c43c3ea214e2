import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { describe, expect, it, vi } from 'vitest'
import { aggregateFacts, aggregateTable } from '../../src/cli/aggregate-view.ts'
import { createAggregate, setAggregate } from '../../src/cli/aggregates.ts'
import { groupFacts, groupTable } from '../../src/cli/group-view.ts'
import { createGroup } from '../../src/cli/groups.ts'
import { setHost } from '../../src/cli/host.ts'
import { hostFacts, hostTable } from '../../src/cli/host-view.ts'
import { HostSummary } from '../../src/objects/host-report.ts'
import type { ServerGroup } from '../../src/objects/server-group.ts'
import { runHere } from '../support/run-here.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const SETTLE = { timeout: 30_000, interval: 200 }
const plain = stripVTControlCharacters
const QUIET = { json: false, debug: false }

function aSummary(changes: Partial<HostSummary> = {}): HostSummary {
  const told = {
    host: 'node1',
    state: 'up',
    disabled: false,
    disabled_reason: null,
    last_seen_up: '2026-01-01T00:00:00Z',
    default_machine_type: 'q35',
    instances: 2,
    providers: [],
  }
  return { ...HostSummary.parse(told), ...changes }
}

describe('what operators see', () => {
  it.each<[string, Partial<HostSummary>]>([
    ['up', {}],
    ['down', { state: 'down' }],
    ['down (forced)', { state: 'down', forced_down: true }],
    ['down (fenced)', { state: 'down', forced_down: true, fenced: true }],
    ['disabled', { disabled: true }],
    ['disabled (new memory)', { disabled: true, disabled_reason: 'new memory' }],
    ['down (forced), disabled (dead)', { state: 'down', forced_down: true, disabled: true, disabled_reason: 'dead' }],
  ])('is whether a host takes instances, and why not: %s', (state, changes) => {
    const [, row = ''] = plain(hostTable([aSummary(changes)])).split('\n')

    expect(row.startsWith(`node1  nova  ${state}  `)).toBe(true)
  })

  it('is everything about one host', () => {
    const slots = { total: 15, reserved: 3, capacity: 12, used: 7 }
    const host = aSummary({
      availability_zone: 'room-1',
      aggregates: ['fast', 'room-1'],
      hypervisor_type: 'QEMU',
      architecture: 'x86_64',
      io_ops: 2,
      failed_builds: 1,
      missing_models: { 'amd-sev-es': 'the kernel has it off: load kvm_amd with sev_es=1' },
      worker: 'process 12 on machine m1',
      providers: [
        {
          name: 'node1',
          model: null,
          traits: ['CUSTOM_SSD', 'OWNER_NOVA'],
          inventories: {
            MEMORY_MB: { total: 1024, reserved: 512, capacity: 512, used: 0 },
            VCPU: { total: 8, reserved: 0, allocation_ratio: 4, capacity: 32, used: 12 },
          },
        },
        {
          name: 'node1_amd_sev',
          model: 'amd-sev',
          traits: [],
          inventories: { MEM_ENCRYPTION_CONTEXT: slots },
        },
      ],
    })

    expect(plain(hostFacts(host))).toBe(
      [
        'host          node1',
        'state         up',
        'last report   2026-01-01T00:00:00Z',
        'worker        process 12 on machine m1',
        'zone          room-1',
        'aggregates    fast, room-1',
        'instances     2',
        'builds        2 under way, 1 failed in a row',
        'hypervisor    QEMU on x86_64',
        'machine type  q35 by default',
        'no SEV-ES     the kernel has it off: load kvm_amd with sev_es=1',
        '',
        'PROVIDER       RESOURCE                USED   TOTAL  RESERVED  RATIO  TRAITS',
        'node1          MEMORY_MB               0/512  1024   512       -      CUSTOM_SSD, OWNER_NOVA',
        '               VCPU                    12/32  8      0         4',
        'node1_amd_sev  MEM_ENCRYPTION_CONTEXT  7/12   15     3         -      -',
      ].join('\n'),
    )
    expect(plain(hostFacts(aSummary()))).toContain('builds        not told, 0 failed in a row')
  })

  it('are aggregates, with their metadata in the order of its keys', () => {
    const gold = { name: 'gold', metadata: { ssd: 'true', filter_tenant_id: 'blue' }, hosts: ['node1', 'node2'] }
    const empty = { name: 'empty', metadata: {}, hosts: [] }

    expect(plain(aggregateTable([gold, empty]))).toBe(
      ['NAME   HOSTS  METADATA', 'gold   2      filter_tenant_id=blue ssd=true', 'empty  0      -'].join('\n'),
    )
    expect(plain(aggregateFacts(gold))).toBe(
      ['name      gold', 'metadata  filter_tenant_id=blue', '          ssd=true', 'hosts     node1, node2'].join('\n'),
    )
    expect(aggregateTable([])).toBe('no aggregates')
  })

  it('are server groups, with where their members are', () => {
    const uuid = 'aaaaaaaa-0000-4000-8000-00000000000a'
    const members = [
      { instance_uuid: 'bbbbbbbb-0000-4000-8000-000000000001', host: 'node1' },
      { instance_uuid: 'bbbbbbbb-0000-4000-8000-000000000002', host: 'node1' },
    ]
    const rules = { max_server_per_host: 2 }
    const group: ServerGroup = { uuid, name: 'db', policy: 'anti-affinity', rules, members }

    expect(plain(groupTable([group, { ...group, rules: {}, members: [] }]))).toBe(
      [
        'UUID                                  NAME  POLICY                              MEMBERS  HOSTS',
        `${uuid}  db    anti-affinity, at most 2 on a host  2        node1`,
        `${uuid}  db    anti-affinity                       0        -`,
      ].join('\n'),
    )
    expect(plain(groupFacts(group))).toBe(
      [
        `uuid     ${uuid}`,
        'name     db',
        'policy   anti-affinity, at most 2 on a host',
        'members  bbbbbbbb-0000-4000-8000-000000000001 on node1',
        '         bbbbbbbb-0000-4000-8000-000000000002 on node1',
      ].join('\n'),
    )
    expect(groupTable([])).toBe('no server groups')
  })
})

describe('words that nobody can mean', () => {
  it.each([
    ['a host is enabled and disabled', () => setHost('node1', { ...QUIET, enable: true, disable: true })],
    ['a reason without a disabling', () => setHost('node1', { ...QUIET, reason: 'new memory' })],
    ['nothing to set of a host', () => setHost('node1', QUIET)],
    ['metadata without a value', () => createAggregate('gold', { ...QUIET, metadata: ['ssd'] })],
    ['metadata without a key', () => createAggregate('gold', { ...QUIET, metadata: ['=true'] })],
    ['nothing to set of an aggregate', () => setAggregate('gold', QUIET)],
    ['a key that is set and goes', () => setAggregate('gold', { ...QUIET, metadata: ['ssd=true'], unset: ['ssd'] })],
    ['a limit of affinity', () => createGroup('db', { ...QUIET, policy: 'affinity', maxServerPerHost: '2' })],
    ['a limit that is none', () => createGroup('db', { ...QUIET, policy: 'anti-affinity', maxServerPerHost: 'two' })],
  ])('are refused before anybody is asked: %s', async (_what, work) => {
    await expect(work()).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { fix: expect.any(String) } })
  })
})

const CATALOGUE = `
[flavors.small]
flavorid = "1"
name = "small"
vcpus = 1
memory_mb = 1024
root_gb = 1
[flavors.fast]
flavorid = "2"
name = "fast"
vcpus = 1
memory_mb = 1024
root_gb = 1
extra_specs = { "trait:CUSTOM_SSD" = "required" }
[images.linux]
name = "linux"
properties = {}
`

describe('operators at the command line', () => {
  it('decide who may be chosen: zones, groups, hosts out of service, traits', async () => {
    await using cloud = await ProcessCloud.open()
    const file = join(cloud.folder, 'sevbus.toml')
    writeFileSync(file, CATALOGUE)
    const env = { ...cloud.env, SEVBUS_CONFIG: file }
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', {}),
      cloud.compute('h2', { SEVBUS_COMPUTE_TRAITS: 'CUSTOM_SSD' }),
    ])
    const run = async (...args: readonly string[]) => {
      const { code, out } = await runHere(args, env)
      return { code, out: plain(out) }
    }
    const boot = async (name: string, ...more: readonly string[]) => {
      const words = ['boot', name, '--flavor', 'small', '--image', 'linux', '--json', ...more]
      const { code, out } = await run(...words)
      return [code, JSON.parse(out).instances.map(({ host }: { host: string | null }) => host)]
    }
    await vi.waitFor(async () => expect(JSON.parse((await run('hosts', '--json')).out).hosts).toHaveLength(2), SETTLE)

    expect((await run('aggregate', 'create', 'a', '--metadata', 'availability_zone=room-1', '--host', 'h1')).code).toBe(
      0,
    )
    const second = ['aggregate', 'create', 'b', '--metadata', 'availability_zone=room-2', '--host', 'h1']
    expect(await run(...second)).toMatchObject({ code: 5, out: expect.stringContaining('would be in two zones') })
    expect((await run('aggregate', 'add-host', 'nothing', 'h1')).code).toBe(4)
    expect(await run('aggregate', 'add-host', 'a', 'h1', 'h9', 'h2')).toMatchObject({
      code: 4,
      out: expect.stringContaining('done for h1; not for h9, h2'),
    })
    const noLimit = await run('aggregate', 'set', 'a', '--metadata', 'max_instances_per_host=few')
    expect(noLimit).toMatchObject({ code: 2, out: expect.stringContaining('"few" is no limit; write a whole number') })
    expect(await boot('zoned', '--availability-zone', 'room-1')).toEqual([0, ['h1']])
    expect(await boot('apart', '--hint', 'different_host=zoned')).toEqual([0, ['h2']])
    expect((await run('hosts')).out).toMatch(/^h1 +room-1 +up .*\nh2 +nova +up /m)

    expect((await run('group', 'create', 'db', '--policy', 'anti-affinity')).code).toBe(0)
    const [code, hosts] = await boot('db', '--count', '3', '--hint', 'group=db')
    expect([code, hosts.toSorted()]).toEqual([5, ['h1', 'h2', null]])
    expect(
      (await run('explain', 'db-3')).out + (await run('explain', 'db-2')).out + (await run('explain', 'db-1')).out,
    ).toContain('1 of group db here, at most 1 on one host (anti-affinity)')

    expect((await run('host', 'set', 'h2', '--disable', '--reason', 'new memory')).out).toContain(
      'disabled (new memory)',
    )
    expect(await boot('fast', '--flavor', 'fast')).toEqual([5, [null]])
    const { out: why } = await run('explain', 'fast')
    expect(why).toMatch(/ h1 +Traits +lacks CUSTOM_SSD$/m)
    expect(why).toMatch(/ h2 +ComputeFilter +disabled: new memory$/m)
    expect((await run('host', 'set', 'h2', '--enable')).code).toBe(0)
    expect(await boot('faster', '--flavor', 'fast')).toEqual([0, ['h2']])
    expect((await run('host', 'set', 'h9', '--enable')).code).toBe(4)
  })
})
