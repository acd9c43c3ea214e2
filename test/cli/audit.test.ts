import { randomUUID } from 'node:crypto'
import { expect, it, vi } from 'vitest'
import { newRequestContext } from '../../src/client.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { runHere } from '../support/run-here.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const SETTLE = { timeout: 30_000, interval: 200 }

it('audit tells by its exit code whether all agrees, whether findings remain, and whether somebody did not answer', async () => {
  await using cloud = await ProcessCloud.open()
  const [, scheduler, host] = await Promise.all([
    cloud.worker('conductor', 'c1'),
    cloud.worker('scheduler', 's1', { SEVBUS_SCHEDULER_AUDIT_INTERVAL_SECONDS: '1' }),
    cloud.compute('h1', { SEVBUS_FAKE_SEV_SLOTS: '2' }),
  ])
  const client = await cloud.client({ hosts: 1 })
  const audit = async (...args: string[]) => {
    return await runHere(['audit', '--settle', '0.2', ...args], cloud.env)
  }
  const context = newRequestContext()
  await client.conductor.buildInstances(context, { name: 'web', flavor: sevFlavor, image: anImage(), count: 1 })
  await vi.waitFor(async () => {
    const { instances } = await client.conductor.listInstances(context, {})
    expect(instances.map(({ vm_state }) => vm_state)).toEqual(['active'])
  }, SETTLE)

  const agreed = await audit()
  expect(agreed.out).toContain('compared 1 host, 1 instance, 1 claim, 1 guest')
  expect([agreed.code, agreed.out]).toEqual([0, expect.stringContaining('everything agrees')])

  const nobodys = randomUUID()
  await cloud.database.transaction(async (tx) => {
    await tx.query(`insert into consumers (uuid, attempt, host, report) values ($1, 1, 'h1', '{}')`, [nobodys])
    const values = `($1, 'h1_amd_sev', 'MEM_ENCRYPTION_CONTEXT', 1)`
    await tx.query(`insert into allocations (consumer, provider, resource_class, amount) values ${values}`, [nobodys])
  })
  const found = await audit()
  expect(found.code).toBe(6)
  expect(found.out).toMatch(new RegExp(`leak +h1 +${nobodys} +--repair +1 MEM_ENCRYPTION_CONTEXT claimed for try 1`))
  expect(found.out).toContain('1 finding: leak 1; sevbus audit --repair mends what is safe')
  // The scheduler has found it by itself meanwhile, and only told.
  await vi.waitFor(() => expect(scheduler.output).toContain('audit: leak: 1 MEM_ENCRYPTION_CONTEXT claimed'), SETTLE)

  const repaired = await audit('--repair', '--json')
  expect(repaired.code).toBe(0)
  expect(JSON.parse(repaired.out)).toMatchObject({
    repaired_total: 1,
    remaining_total: 0,
    findings: [{ kind: 'leak', instance_uuid: nobodys, outcome: 'repaired' }],
  })

  host.kill('SIGTERM')
  await host.exited()
  const silent = await audit('--host', 'h1')
  expect(silent.code).toBe(3)
  expect(silent.out).toContain('not judged, for they did not answer:\n  h1: ')
  expect((await audit('--settle', 'soon')).code).toBe(2)
})
