import { expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const context = newRequestContext()
const SETTLE = { timeout: 90_000, interval: 500 }
const HOST = { SEVBUS_FAKE_SEV_SLOTS: '6', SEVBUS_FAKE_SPAWN_DELAY_MS: '50' }

/** Builds some and deletes half of what there is. Calls to a worker that is killed meanwhile may fail. */
async function churn({ conductor }: SevbusClient): Promise<void> {
  const options = { timeoutMs: 5000 }
  await conductor.buildInstances(context, { name: 'web', flavor: sevFlavor, image: anImage(), count: 4 }, options)
  const { instances } = await conductor.listInstances(context, {}, options)
  for (const { uuid } of instances.filter((_, index) => index % 2 === 0))
    await conductor.deleteInstance(context, { instance_uuid: uuid }, options)
}

it('an audit takes nothing that is on its way for a fault, though workers of every kind are killed', async () => {
  await using cloud = await ProcessCloud.open()
  const start = {
    c1: () => cloud.worker('conductor', 'c1'),
    s1: () => cloud.worker('scheduler', 's1'),
    h1: () => cloud.compute('h1', HOST),
  }
  const workers = new Map<string, SevbusProcess>()
  for (const [name, begin] of Object.entries(start)) workers.set(name, await begin())
  await Promise.all([cloud.worker('conductor', 'c2'), cloud.worker('scheduler', 's2'), cloud.compute('h2', HOST)])
  const client = await cloud.client({ hosts: 2 })
  const audit = async () => (await client.scheduler.audit(context, { settle_seconds: 3 })).report

  const findings: unknown[] = []
  for (const [name, begin] of Object.entries(start)) {
    const load = Promise.allSettled([churn(client), churn(client), churn(client)])
    const building = () => cloud.count(`instances where vm_state = 'building'`)
    await vi.waitFor(async () => expect(await building()).toBeGreaterThan(0), { timeout: 20_000, interval: 20 })
    workers.get(name)?.kill('SIGKILL')
    await workers.get(name)?.exited()
    const looked = audit().then((report) => findings.push(...report.findings))
    workers.set(name, await begin())
    await Promise.allSettled([load, looked])
    findings.push(...(await audit()).findings)
  }

  expect(findings).toEqual([])
  await vi.waitFor(async () => {
    const { compared, changing, findings, not_judged_total } = await audit()
    expect({ changing, findings, not_judged_total }).toEqual({ changing: 0, findings: [], not_judged_total: 0 })
    expect(compared.claims).toBe(compared.guests)
  }, SETTLE)
})
