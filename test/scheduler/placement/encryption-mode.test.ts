import { randomUUID } from 'node:crypto'
import { describe, expect, it, vi } from 'vitest'
import type { Queryable } from '../../../src/database/database.ts'
import type { MemEncryptionModel } from '../../../src/objects/mem-encryption.ts'
import type { Migration } from '../../../src/objects/request-spec.ts'
import { hostSummary } from '../../../src/scheduler/host-summary.ts'
import { confirmMove, revertMove } from '../../../src/scheduler/placement/moves.ts'
import { DatabasePlacement } from '../../../src/scheduler/placement/placement.ts'
import { placementMigrations } from '../../../src/scheduler/placement/schema.ts'
import { databaseEngines } from '../../support/databases.ts'
import { aHostReport } from '../../support/host-reports.ts'

const NO_REPORT = { hosts_considered: 1, rejected: [], rejections: [], ranking: [] }
const WITH_ES = aHostReport('cn-1', { slots: { 'amd-sev': 5, 'amd-sev-es': 3 } })
const WITH_SNP = aHostReport('cn-1', { slots: { 'amd-sev': 5, 'amd-sev-snp': 3 } })
const WITH_BOTH = aHostReport('cn-1', { slots: { 'amd-sev': 5, 'amd-sev-es': 3, 'amd-sev-snp': 3 } })
const OFF = { 'amd-sev-es': 'SEV-ES is off', 'amd-sev-snp': 'SEV-SNP is off' }

function slotOf(model: MemEncryptionModel, host = 'cn-1', attempt = 1) {
  const pool = `${host}_${model.replaceAll('-', '_')}`
  const allocations = [
    { provider: host, resource_class: 'VCPU', amount: 1 },
    { provider: pool, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 },
  ]
  return { host, attempt, allocations, report: NO_REPORT }
}

/** How many sessions wait for a lock. */
async function waiting(tx: Queryable): Promise<number> {
  return (await tx.query('select from pg_locks where not granted')).length
}

describe.each(databaseEngines)('SEV-ES and SEV-SNP of one host, on $name', ({ open, concurrent }) => {
  async function openHost(...reports: ReturnType<typeof aHostReport>[]) {
    const test = await open(placementMigrations)
    const placement = new DatabasePlacement(test.database)
    for (const report of reports) await placement.recordHost(report)
    const claim = async (selection: ReturnType<typeof slotOf>, uuid = randomUUID(), migration?: Migration) => {
      await placement.grant({ instance_uuid: uuid, selection, migration })
      return uuid
    }
    const summary = async () => {
      const [host] = await placement.hostStates(['cn-1'])
      if (host === undefined) throw new Error('the host has reported')
      return hostSummary(host)
    }
    /** Slots in use and usable, by model; and why there are none. */
    const shown = async () => {
      const { providers, missing_models } = await summary()
      const slots = providers.flatMap(({ model, inventories: { MEM_ENCRYPTION_CONTEXT: slot } }) =>
        model === null ? [] : [[model, `${slot?.used}/${slot?.capacity}`] as const],
      )
      return { slots: Object.fromEntries(slots), missing: missing_models }
    }
    return { test, placement, claim, shown, [Symbol.asyncDispose]: () => test[Symbol.asyncDispose]() }
  }

  it('exclude each other: one that is reported while slots of the other are in use is off until they are given back', async () => {
    await using host = await openHost(WITH_ES)
    const uuids = [await host.claim(slotOf('amd-sev-es')), await host.claim(slotOf('amd-sev-es'))]

    expect(await host.placement.recordHost(WITH_SNP)).toMatchObject({
      changed: true,
      closed: [
        {
          provider: 'cn-1_amd_sev_snp',
          model: 'SEV-SNP',
          other_provider: 'cn-1_amd_sev_es',
          other_model: 'SEV-ES',
          other_used: 2,
        },
      ],
    })

    await expect(host.claim(slotOf('amd-sev-snp'))).rejects.toMatchObject({
      code: 'CLAIM_REFUSED',
      message:
        '1 asked of MEM_ENCRYPTION_CONTEXT on cn-1_amd_sev_snp, which is off while 2 SEV-ES slots are in use: a host runs one of the two',
      details: { host: 'cn-1', provider: 'cn-1_amd_sev_snp', other_provider: 'cn-1_amd_sev_es', other_used: 2 },
    })
    expect(await host.shown()).toEqual({
      slots: { 'amd-sev': '0/5', 'amd-sev-es': '2/0', 'amd-sev-snp': '0/0' },
      missing: { 'amd-sev-snp': 'SEV-SNP is off while 2 SEV-ES slots are in use: a host runs one of the two' },
    })
    await host.claim(slotOf('amd-sev'))
    for (const uuid of uuids) await host.placement.release({ instance_uuid: uuid, attempt: 1 })
    await host.claim(slotOf('amd-sev-snp'))
    expect(await host.shown()).toEqual({
      slots: { 'amd-sev': '1/5', 'amd-sev-es': '0/0', 'amd-sev-snp': '1/3' },
      missing: {},
    })
  })

  it('exclude each other where a host reports both, and SEV is beside either', async () => {
    await using host = await openHost(WITH_BOTH)

    await host.claim(slotOf('amd-sev'))
    const uuid = await host.claim(slotOf('amd-sev-snp'))

    await expect(host.claim(slotOf('amd-sev-es'))).rejects.toThrow('off while 1 SEV-SNP slot is in use')
    // A later try of the only guest may have the other one.
    await host.claim(slotOf('amd-sev-es', 'cn-1', 2), uuid)
    await expect(host.claim(slotOf('amd-sev-snp'))).rejects.toThrow('off while 1 SEV-ES slot is in use')
    await host.claim(slotOf('amd-sev-es'))
  })

  it('exclude each other while a move holds a slot of one, which may come back', async () => {
    await using host = await openHost(WITH_BOTH, aHostReport('cn-2', { slots: { 'amd-sev-es': 3, 'amd-sev-snp': 3 } }))
    const migrations = [randomUUID(), randomUUID()].map((uuid) => ({ uuid, type: 'resize' as const }))
    const uuid = await host.claim(slotOf('amd-sev-es'))

    await host.claim(slotOf('amd-sev-es', 'cn-2', 2), uuid, migrations[0])
    await expect(host.claim(slotOf('amd-sev-snp'))).rejects.toThrow('off while 1 SEV-ES slot is in use')
    await revertMove(host.test.database, { instance_uuid: uuid, migration: migrations[0] as Migration })
    await expect(host.claim(slotOf('amd-sev-snp', 'cn-1', 3), uuid, migrations[1])).rejects.toThrow('SEV-ES')
    await host.claim(slotOf('amd-sev-snp', 'cn-2', 3), uuid, migrations[1])
    await confirmMove(host.test.database, { instance_uuid: uuid, migration: migrations[1] as Migration })

    await host.claim(slotOf('amd-sev-snp'))
    await expect(host.claim(slotOf('amd-sev-es', 'cn-2'))).rejects.toThrow('off while 1 SEV-SNP slot is in use')
  })

  it('let guests move away, and back, from a host that came to have both before this was guarded', async () => {
    await using host = await openHost(WITH_BOTH, aHostReport('cn-2', { slots: { 'amd-sev-es': 3 } }))
    const { database } = host.test
    const guard = 'allocations_taken_in_one_mode'
    await database.query(`alter table allocations disable trigger ${guard}`)
    const uuid = await host.claim(slotOf('amd-sev-es'))
    await host.claim(slotOf('amd-sev-snp'))
    await database.query(`alter table allocations enable trigger ${guard}`)
    const migration = { uuid: randomUUID(), type: 'migration' as const }

    await expect(host.claim(slotOf('amd-sev-es'))).rejects.toThrow('off while')
    await host.claim(slotOf('amd-sev-es', 'cn-2', 2), uuid, migration)
    expect(await revertMove(database, { instance_uuid: uuid, migration })).toBe('cn-1')
  })

  it('exclude each other in one group of claims: all or nothing is nothing, else those who come first get theirs', async () => {
    await using host = await openHost(WITH_BOTH)
    const claims = (['amd-sev-snp', 'amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const).map((model) => ({
      instance_uuid: randomUUID(),
      selection: slotOf(model),
    }))

    const none = await host.placement.claimAll(claims)
    const some = await Promise.allSettled(claims.map((claim) => host.placement.grant(claim)))

    expect(none.map((outcome) => 'selection' in outcome)).toEqual([false, false, false, false])
    expect(some.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled'])
    expect((await host.shown()).slots).toEqual({ 'amd-sev': '1/5', 'amd-sev-es': '0/0', 'amd-sev-snp': '2/3' })
  })

  it('are given to one of two who come at once, and the other is told why', async () => {
    await using host = await openHost(WITH_BOTH)
    const models = ['amd-sev-es', 'amd-sev-snp'] as const
    const schedulers = await Promise.all(models.map(async () => new DatabasePlacement(await host.test.connect())))

    for (let round = 0; round < 20; round++) {
      const uuids = models.map(() => randomUUID())
      const outcomes = await Promise.allSettled(
        models.map((model, n) => schedulers[n]?.claim(uuids[n] as string, slotOf(model))),
      )

      const loser = outcomes.findIndex(({ status }) => status === 'rejected')
      const winner = outcomes.findIndex(({ status }) => status === 'fulfilled')
      expect([loser, winner].toSorted()).toEqual([0, 1])
      expect(outcomes[loser]).toMatchObject({
        reason: {
          code: 'CLAIM_REFUSED',
          details: { refusal: expect.stringMatching(/^is off while 1 .* slot is in use/) },
        },
      })
      const missing = models[loser] as keyof typeof OFF
      expect(await host.shown()).toMatchObject({ missing: { [missing]: expect.stringContaining(OFF[missing]) } })
      await host.placement.release({ instance_uuid: uuids[winner] as string, attempt: 1 })
    }
  })

  it('wait for whoever writes allocations, though he takes nothing else of the host', async () => {
    await using host = await openHost(WITH_BOTH)
    const other = await host.test.connect()
    const take = async (tx: Queryable, model: string) => {
      const uuid = randomUUID()
      await tx.query(`insert into consumers (uuid, attempt, host) values ($1, 1, 'cn-1')`, [uuid])
      const slot = `insert into allocations (consumer, provider, resource_class, amount)
                    values ($1, $2, 'MEM_ENCRYPTION_CONTEXT', 1)`
      await tx.query(slot, [uuid, `cn-1_${model}`])
    }
    let second: Promise<void> | undefined
    let isOver = false

    await host.test.database.transaction(async (tx) => {
      await take(tx, 'amd_sev_es')
      second = other
        .transaction((late) => take(late, 'amd_sev_snp'))
        .finally(() => {
          isOver = true
        })
      second.catch(() => {})
      // The embedded engine has one session: there it waits for the end of this transaction as it is.
      if (concurrent) await vi.waitFor(async () => expect((await waiting(tx)) > 0 || isOver).toBe(true))
    })

    await expect(second).rejects.toThrow('off while 1 SEV-ES slot is in use')
  })

  it('exclude each other among schedulers that claim, move and give back on the same hosts at once', async () => {
    const slots = { 'amd-sev-es': 8, 'amd-sev-snp': 8 }
    await using host = await openHost(aHostReport('cn-1', { slots }), aHostReport('cn-2', { slots }))
    const schedulers = await Promise.all(
      Array.from({ length: 4 }, async () => new DatabasePlacement(await host.test.connect())),
    )
    const live = async (n: number) => {
      const [placement, model] = [
        schedulers[n % 4] as DatabasePlacement,
        n % 3 === 0 ? 'amd-sev-es' : 'amd-sev-snp',
      ] as const
      const uuid = randomUUID()
      const codes: unknown[] = []
      const migration = { uuid: randomUUID(), type: 'migration' as const }
      const steps = [
        () => placement.grant({ instance_uuid: uuid, selection: slotOf(model, `cn-${1 + (n % 2)}`) }),
        () => placement.grant({ instance_uuid: uuid, selection: slotOf(model, `cn-${2 - (n % 2)}`, 2), migration }),
        () => (n % 5 === 0 ? revertMove(host.test.database, { instance_uuid: uuid, migration }) : undefined),
        () => (n % 4 === 0 ? placement.release({ instance_uuid: uuid, attempt: 2 }) : undefined),
      ]
      for (const step of steps) await Promise.resolve(step()).catch(({ code }) => codes.push(code))
      return codes
    }

    const refusals = (await Promise.all(Array.from({ length: 32 }, (_, n) => live(n)))).flat()

    expect(new Set(refusals)).toEqual(new Set(['CLAIM_REFUSED']))
    for (const { pools } of await host.placement.hostStates()) {
      const modes = pools.filter(({ inventories }) => inventories.MEM_ENCRYPTION_CONTEXT?.used)
      expect(modes.length).toBeLessThanOrEqual(1)
    }
  })

  it('keep their traits while slots are in use: a report that makes them the other one is refused by name', async () => {
    await using host = await openHost(WITH_ES)
    const uuid = await host.claim(slotOf('amd-sev-es'))
    const turned = {
      ...WITH_ES,
      providers: WITH_ES.providers.map((provider) => ({
        ...provider,
        traits: provider.traits.map((trait) => (trait === 'HW_CPU_X86_AMD_SEV_ES' ? 'HW_CPU_X86_AMD_SEV_SNP' : trait)),
      })),
    }

    await expect(host.placement.recordHost(turned)).rejects.toMatchObject({
      code: 'INVALID_INVENTORY',
      message:
        'the report of cn-1 was not taken: cn-1_amd_sev_es has 1 SEV-ES slot in use, and is without HW_CPU_X86_AMD_SEV_ES now; give the pool of each model a name of its own, or delete these instances first',
    })
    await host.placement.release({ instance_uuid: uuid, attempt: 1 })
    await host.placement.recordHost(turned)
    expect((await host.shown()).slots).toEqual({ 'amd-sev': '0/5', 'amd-sev-snp': '0/3' })
  })
})
