import { describe, expect, it } from 'vitest'
import { auditUsage } from '../../src/conductor/usage-audit.ts'
import { databaseEngines } from '../support/databases.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

interface Wrapped {
  readonly 'nova_object.data': { readonly audit_period_beginning: string; readonly audit_period_ending: string }
}

describe.each(databaseEngines)('the usage audit, on $name', (engine) => {
  async function aCloud() {
    const clock = { now: new Date('2026-11-27T10:30:00.000Z') }
    const now = () => clock.now
    const cloud = await aConductor(engine, async ({ attempt }) => aSelection('h1', attempt), { now })
    const { endpoint, request } = cloud
    return {
      cloud,
      at: (time: string) => {
        clock.now = new Date(`2026-11-27T${time}:00.000Z`)
      },
      async active(): Promise<string> {
        const { uuid } = await cloud.accept()
        await endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, request)
        const outcome = { result: 'active', launched_at: clock.now.toISOString() } as const
        await endpoint.reportBuild({ instance_uuid: uuid, attempt: 1, host: 'h1', outcome }, request)
        return uuid
      },
      async deleted(instance_uuid: string): Promise<void> {
        await endpoint.deleteInstance({ instance_uuid }, request)
        const terminated_at = clock.now.toISOString()
        await endpoint.reportTerminated({ instance_uuid, attempt: 1, host: 'h1', terminated_at }, request)
      },
      /** Whom `instance.exists` was told of, in which hour's period, and in which state. */
      async told(): Promise<string[]> {
        const sent = (await cloud.sent()).filter(({ what }) => what === 'instance.exists')
        return sent.map(({ args }) => {
          const { uuid, state, host, audit_period } = args['nova_object.data'] as {
            audit_period: Wrapped
            uuid: string
            state: string
            host: string
          }
          const { audit_period_beginning: from, audit_period_ending: to } = audit_period['nova_object.data']
          return `${uuid} ${state} on ${host} ${from.slice(11, 16)} to ${to.slice(11, 16)}`
        })
      },
      [Symbol.asyncDispose]: () => cloud[Symbol.asyncDispose](),
    }
  }

  it('tells nothing of one that is shelved: it is on no host, and charged for no more', async () => {
    await using given = await aCloud()
    const { endpoint, request, ports } = given.cloud
    const instance_uuid = await given.active()
    await endpoint.shelveInstance({ instance_uuid, clean_shutdown: true }, request)
    const ofHost = { instance_uuid, attempt: 1, host: 'h1' }
    await endpoint.reportAction({ ...ofHost, number: 1, outcome: { result: 'done', image_bytes: 1 } }, request)
    await endpoint.reportTerminated({ ...ofHost, terminated_at: '2026-11-27T10:45:00.000Z' }, request)
    given.at('11:10')

    expect(await auditUsage(ports, 'hour')).toBe(0)
  })

  it('tells of each instance once for each period it lived in, also of one that ended within it', async () => {
    await using given = await aCloud()
    const { ports } = given.cloud
    const lasting = await given.active()
    given.at('11:15')
    const short = await given.active()
    given.at('11:45')
    await given.deleted(short)
    await given.cloud.accept()
    given.at('12:10')
    const late = await given.active()

    const first = await auditUsage(ports, 'hour')
    const again = await auditUsage(ports, 'hour')
    const told = await given.told()
    given.at('14:05')
    const second = await auditUsage(ports, 'hour')

    expect([first, again, second]).toEqual([2, 0, 4])
    expect(told.toSorted()).toEqual(
      [`${lasting} active on h1 11:00 to 12:00`, `${short} deleted on h1 11:00 to 12:00`].toSorted(),
    )
    expect((await given.told()).toSorted()).toEqual(
      [
        `${lasting} active on h1 12:00 to 13:00`,
        `${late} active on h1 12:00 to 13:00`,
        `${lasting} active on h1 13:00 to 14:00`,
        `${late} active on h1 13:00 to 14:00`,
      ].toSorted(),
    )
  })

  it('begins with the period before, and goes on where it was when its conductor died between two pages', async () => {
    await using given = await aCloud()
    const { ports } = given.cloud
    const uuid = await given.active()
    await given.cloud.sent()
    await ports.database.query(
      `INSERT INTO instances (uuid, name, vm_state, flavor, image, ip_addresses, context, created_at, updated_at, launched_at)
       SELECT gen_random_uuid(), name, vm_state, flavor, image, ip_addresses, context, created_at, updated_at, launched_at
         FROM instances, generate_series(1, 250) WHERE uuid = $1`,
      [uuid],
    )
    let pages = 0
    const transaction: typeof ports.database.transaction = (work) => {
      if (++pages === 2) throw new Error('killed')
      return ports.database.transaction(work)
    }
    const dying = {
      ...ports,
      database: { ...ports.database, query: ports.database.query.bind(ports.database), transaction },
    }
    given.at('11:05')

    await expect(auditUsage(dying as typeof ports, 'hour')).rejects.toThrow('killed')
    const before = await given.told()
    const rest = await auditUsage(ports, 'hour')
    const after = await given.told()

    expect([before.length, rest, after.length]).toEqual([200, 51, 51])
    expect(new Set([...before, ...after]).size).toBe(251)
  })

  it('is done by one conductor at a time, or by several without telling anything twice', async () => {
    await using given = await aCloud()
    await given.active()
    given.at('11:05')

    await Promise.all([1, 2, 3].map(() => auditUsage(given.cloud.ports, 'hour')))
    await auditUsage(given.cloud.ports, 'hour')

    expect(await given.told()).toHaveLength(1)
  })

  it('tells of an instance that has moved since the period what it lived through', async () => {
    await using given = await aCloud()
    const { ports } = given.cloud
    const uuid = await given.active()
    await ports.database.query(
      `INSERT INTO migrations (uuid, instance_uuid, type, status, source_host, source_attempt, first_attempt, context,
         created_at, updated_at, asked_at)
       VALUES (gen_random_uuid(), $1, 'evacuation', 'done', 'h0', 1, 1, '{}', now(), now(), now())`,
      [uuid],
    )
    const moved = '2026-11-27T11:01:00.000Z'
    await ports.database.query('UPDATE instances SET launched_at = $2 WHERE uuid = $1', [uuid, moved])
    given.at('11:05')

    await auditUsage(ports, 'hour')

    expect(await given.told()).toEqual([`${uuid} active on h1 10:00 to 11:00`])
  })
})
