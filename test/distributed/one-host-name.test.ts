import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { anImage, plainFlavor } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const SETTLE = { timeout: 60_000, interval: 200 }
const REFUSED = 'this worker takes no requests: two workers say that they are host h1'
const READY = 'compute worker is ready'
const context = newRequestContext({ project_id: 'p', user_id: 'u' })

/** A second worker that says it is h1, with guests and state of its own. */
function second(cloud: ProcessCloud): SevbusProcess {
  return cloud.start(['compute', '--host', 'h1'], { SEVBUS_COMPUTE_STATE_FOLDER: join(cloud.folder, 'h1-again') })
}

/** Boots so many, and waits until they run. */
async function boot({ conductor }: SevbusClient, name: string, count: number): Promise<readonly string[]> {
  const { instances } = await conductor.buildInstances(context, { name, flavor: plainFlavor, image: anImage(), count })
  const uuids = instances.map(({ uuid }) => uuid).toSorted()
  await vi.waitFor(async () => {
    const { instances: all } = await conductor.listInstances(context, {})
    const states = all.filter(({ uuid }) => uuids.includes(uuid)).map(({ vm_state }) => vm_state)
    expect(states).toEqual(uuids.map(() => 'active'))
  }, SETTLE)
  return uuids
}

/** What the one who answers for h1 runs; asked more often than there are workers, so that nobody else can answer. */
async function guestsOfH1({ compute }: SevbusClient): Promise<readonly string[]> {
  const answers = await Promise.all(
    Array.from({ length: 4 }, () => compute.listGuests(context, {}, { server: 'h1', timeoutMs: 60_000 })),
  )
  const lists = answers.map(({ guests }) => guests.map(({ uuid }) => uuid).toSorted())
  for (const list of lists) expect(list).toEqual(lists[0])
  return lists[0] ?? []
}

it('of two workers with one host name one serves; the other says why not, and follows as soon as the first has left', async () => {
  await using cloud = await ProcessCloud.open()
  const [scheduler, , first] = await Promise.all([
    cloud.worker('scheduler', 's1'),
    cloud.worker('conductor', 'c1'),
    cloud.compute('h1'),
  ])
  const client = await cloud.client({ hosts: 1 })
  const stranger = second(cloud)

  await stranger.said(REFUSED)
  await scheduler.said('the report was not taken')
  expect(await guestsOfH1(client)).toEqual([])
  const guests = await boot(client, 'first', 6)
  expect(await guestsOfH1(client)).toEqual(guests)

  // Killed and started again on its state folder it is the same worker: it need not wait, and the other does.
  first.kill('SIGKILL')
  await first.exited()
  const again = await cloud.compute('h1')
  expect(await guestsOfH1(client)).toEqual(guests)
  expect(stranger.output).not.toContain(READY)

  again.kill('SIGTERM')
  expect(await again.exited()).toBe(0)
  await stranger.said(READY)
  const others = await boot(client, 'second', 2)
  expect(await guestsOfH1(client)).toEqual(others)
  const warnings = scheduler.output.split('\n').filter((line) => line.includes('the report was not taken'))
  expect(warnings).toHaveLength(1)
  expect(warnings[0]).toMatch(
    /two workers say that they are host h1: process \d+ on machine .*, which is taken, and process/,
  )
})

it('a worker that was suspended until another one had followed it does nothing more when it wakes up, and says so', async () => {
  await using cloud = await ProcessCloud.open()
  const [scheduler, , first] = await Promise.all([
    cloud.worker('scheduler', 's1'),
    cloud.worker('conductor', 'c1'),
    cloud.compute('h1'),
  ])
  const client = await cloud.client({ hosts: 1 })
  const stranger = second(cloud)
  await stranger.said(REFUSED)

  first.kill('SIGSTOP')
  await stranger.said(READY)
  expect(scheduler.output).toContain('another worker serves this host now')
  // The broker gives the suspended one its share, until it is seen to be away.
  const booting = boot(client, 'second', 4)
  first.kill('SIGCONT')

  await first.said(REFUSED)
  const guests = await booting
  expect(await guestsOfH1(client)).toEqual(guests)
})
