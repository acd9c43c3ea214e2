import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { SchedulerManager } from '../../src/scheduler/manager.ts'
import { DatabasePlacement } from '../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../src/scheduler/placement/schema.ts'
import { defaultWeighers } from '../../src/scheduler/weighers/default-weighers.ts'
import { databaseEngines } from '../support/databases.ts'
import { aHostReport } from '../support/host-reports.ts'
import { aRequestSpec } from './builders.ts'

const info = { context: newRequestContext(), signal: new AbortController().signal }

/** Schedulers that read the hosts when they start, and from then on only where they must. */
describe.each(databaseEngines)('schedulers whose memory is stale, on $name', ({ open }) => {
  async function aCloud(...reports: readonly ReturnType<typeof aHostReport>[]) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    for (const report of reports) await placement.recordHost(report)
    const managers: SchedulerManager[] = []
    return {
      placement,
      database: test.database,
      /** @param afterReading runs when the hosts were read, before anybody is told */
      async scheduler(afterReading = async () => {}) {
        const own = new DatabasePlacement(await test.connect())
        const read = own.changesSince.bind(own)
        own.changesSince = async (cursor) => {
          const changes = await read(cursor)
          await afterReading()
          return changes
        }
        const manager = new SchedulerManager({
          placement: own,
          filters: defaultFilters(),
          weighers: defaultWeighers(),
          options: { refreshIntervalMs: 3_600_000 },
          logger: pino({ level: 'silent' }),
        })
        managers.push(manager)
        await manager.start()
        return manager
      },
      async used(resourceClass: string) {
        const [row] = await test.database.query<{ used: number }>(
          'select sum(used)::integer as used from inventories where resource_class = $1',
          [resourceClass],
        )
        return row?.used
      },
      async [Symbol.asyncDispose]() {
        await Promise.all(managers.map((manager) => manager.close()))
        await test[Symbol.asyncDispose]()
      },
    }
  }

  const ask = (manager: SchedulerManager, spec: Parameters<typeof aRequestSpec>[0] = {}) =>
    manager.selectDestinations(
      { request_spec: aRequestSpec({ ...spec, spec: { instance_uuid: randomUUID(), ...spec.spec } }) },
      info,
    )

  it('give 100 claimants exactly the 15 slots there are, and the other 85 the reason with true numbers', async () => {
    await using cloud = await aCloud(aHostReport('cn-1', { slots: { 'amd-sev': 15 }, vcpus: 200, memoryMb: 262_144 }))
    const managers = [await cloud.scheduler(), await cloud.scheduler(), await cloud.scheduler()]

    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, n) => ask(managers[n % 3] as SchedulerManager, { model: 'amd-sev' })),
    )

    const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
    expect(refusals).toHaveLength(85)
    for (const refusal of refusals) {
      expect(refusal).toMatchObject({ code: 'NO_VALID_HOST' })
      expect(refusal.details.report.rejections).toEqual([
        { host: 'cn-1', filter: 'MemEncryptionSlots', reason: '15 of 15 SEV slots used, 0 reserved' },
      ])
    }
    expect(await cloud.used('MEM_ENCRYPTION_CONTEXT')).toBe(15)
  })

  it('give a host that may run SEV-ES or SEV-SNP to the one that claims first, and tell the others why and how many', async () => {
    await using cloud = await aCloud(aHostReport('cn-1', { slots: { 'amd-sev-es': 15, 'amd-sev-snp': 15 } }))
    const managers = [await cloud.scheduler(), await cloud.scheduler(), await cloud.scheduler()]

    const outcomes = await Promise.allSettled(
      Array.from({ length: 12 }, (_, n) =>
        ask(managers[n % 3] as SchedulerManager, { model: n % 2 === 0 ? 'amd-sev-es' : 'amd-sev-snp' }),
      ),
    )

    const models = new Set(
      outcomes.flatMap((outcome) =>
        outcome.status === 'fulfilled' ? [outcome.value.selection.mem_encryption?.model] : [],
      ),
    )
    expect(models.size).toBe(1)
    const [off, on] = models.has('amd-sev-es') ? ['SEV-SNP', 'SEV-ES'] : ['SEV-ES', 'SEV-SNP']
    const refusals = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
    expect(refusals).toHaveLength(6)
    for (const { code, details } of refusals) {
      expect(code).toBe('NO_VALID_HOST')
      expect(details.report.rejected).toEqual([{ filter: 'MemEncryptionMode', hosts: 1 }])
      expect(details.report.rejections[0].reason).toMatch(
        new RegExp(`^${off} is off while [1-6] ${on} slots? (is|are) in use: a host runs one of the two$`),
      )
      expect(details.fix).toContain('delete the instances of the other model there, ask for that model, or add a host')
    }
    expect(await cloud.used('MEM_ENCRYPTION_CONTEXT')).toBe(6)
  })

  it('take the lesser of two models where the better one is off', async () => {
    await using cloud = await aCloud(aHostReport('cn-1', { slots: { 'amd-sev-es': 2, 'amd-sev-snp': 2 } }))
    const scheduler = await cloud.scheduler()
    await ask(scheduler, { model: 'amd-sev-es' })
    const extra_specs = { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp,amd-sev-es' }
    const { flavor, ...asked } = aRequestSpec({ model: 'amd-sev-snp' })

    const { selection } = await ask(scheduler, { spec: { ...asked, flavor: { ...flavor, extra_specs } } })

    expect(selection.mem_encryption?.model).toBe('amd-sev-es')
    expect(selection.report.refused_models).toMatchObject([
      { model: 'amd-sev-snp', rejections: [{ host: 'cn-1', filter: 'MemEncryptionMode' }] },
    ])
  })

  it('find room that came back, and do not find room that is gone', async () => {
    await using cloud = await aCloud(aHostReport('cn-1', { vcpus: 1 }))
    const [first, second] = [await cloud.scheduler(), await cloud.scheduler()]
    const uuid = randomUUID()

    await ask(first, { spec: { instance_uuid: uuid } })
    await expect(ask(second)).rejects.toMatchObject({
      details: { report: { rejections: [{ host: 'cn-1', filter: 'Resources' }] } },
    })
    expect([first.lostClaims, second.lostClaims]).toEqual([0, 1])
    await first.releaseAllocations({ instance_uuid: uuid, attempt: 1 }, info)

    expect((await ask(second)).selection.host).toBe('cn-1')
    expect(await cloud.used('VCPU')).toBe(1)
  })

  it('refuse nobody for hosts that were full one after the other, and never at once', async () => {
    await using cloud = await aCloud(aHostReport('cn-1', { vcpus: 2 }), aHostReport('cn-2', { vcpus: 2 }))
    const [onFirst, onSecond] = [randomUUID(), randomUUID()]
    const forced = (host: string, vcpus: number, instance_uuid: string = randomUUID()) =>
      ask(scheduler, { vcpus, spec: { instance_uuid, force_hosts: [host] } })
    let afterReading = async () => {}
    const scheduler = await cloud.scheduler(() => afterReading())
    await forced('cn-1', 2, onFirst)
    await forced('cn-2', 1, onSecond)
    // What is read: one is full, and the other is not.
    await cloud.placement.release({ instance_uuid: onSecond, attempt: 1 })
    afterReading = async () => {
      afterReading = async () => {}
      await forced('cn-2', 1)
      await cloud.placement.release({ instance_uuid: onFirst, attempt: 1 })
    }

    const { selection } = await ask(scheduler, { vcpus: 2 })

    expect(selection.host).toBe('cn-1')
  })

  it('find hosts that came, and not hosts that went or were taken out of service', async () => {
    await using cloud = await aCloud(aHostReport('cn-1'))
    const scheduler = await cloud.scheduler()

    await cloud.database.query(`update compute_hosts set disabled = true, disabled_reason = 'is emptied'`)
    await cloud.placement.recordHost(aHostReport('cn-2'))

    // It knows nothing of both yet: a claim there is no mistake, but a refusal would be.
    expect(['cn-1', 'cn-2']).toContain((await ask(scheduler)).selection.host)
    await cloud.database.query(`update compute_hosts set disabled = true, disabled_reason = 'is emptied'`)
    await scheduler.hosts.refresh()
    await expect(ask(scheduler)).rejects.toMatchObject({
      details: { report: { rejected: [{ filter: 'ComputeFilter', hosts: 2 }] } },
    })
    await cloud.database.query('update compute_hosts set disabled = false, disabled_reason = null')
    expect(['cn-1', 'cn-2']).toContain((await ask(scheduler)).selection.host)
  })

  it('trust hosts that were silent while no scheduler ran, except those that were held for dead before', async () => {
    await using cloud = await aCloud(aHostReport('cn-1'), aHostReport('cn-2'))
    await cloud.placement.noteDown(['cn-2'])
    await cloud.database.query(`update compute_hosts set last_seen_up = now() - interval '1 hour'`)

    const scheduler = await cloud.scheduler()

    const states = async () => (await scheduler.listHosts({})).hosts.map(({ host, state }) => [host, state])
    expect(await states()).toEqual([
      ['cn-1', 'up'],
      ['cn-2', 'down'],
    ])
    await cloud.placement.recordHost(aHostReport('cn-2'))
    expect(await states()).toEqual([
      ['cn-1', 'up'],
      ['cn-2', 'up'],
    ])
  })
})
