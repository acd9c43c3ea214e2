import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, onTestFinished, vi } from 'vitest'
import type { Notification } from '../../src/notifications/notification.ts'
import { aFlavor } from '../support/requests.ts'
import { runHere } from '../support/run-here.ts'
import { openSimulatedCloud } from './simulated-cloud.ts'

const SETTLE = { timeout: 60_000, interval: 50 }

/** What `sevbus bill` makes of it, by host, flavor, encryption and state. */
async function billed(notifications: readonly Notification[]) {
  const folder = mkdtempSync(join(tmpdir(), 'sevbus-billed-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const file = join(folder, 'told.ndjson')
  writeFileSync(file, notifications.map((each) => `${JSON.stringify(each)}\n`).join(''))
  const env = { SEVBUS_BILL_FOLDER: join(folder, 'ledger') }
  const imported = await runHere(['bill', 'import', file], env)
  expect(imported.code, imported.out).toBe(0)
  const { code, out } = await runHere(['bill', 'export', '--format', 'json'], env)
  expect(code, out).toBe(0)
  // What `instance.exists` tells with operations agrees with it.
  const check = await runHere(['bill', 'check'], env)
  expect(check.code, check.out).toBe(0)
  const lines = out.split('\n').filter((line) => line !== '')
  return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>)
}

it('a guest that is stopped, resized while it is off, confirmed and started is billed for each of these, with a slot on both hosts meanwhile', async () => {
  const cloud = await openSimulatedCloud()
  await cloud.on('h1')
  const [uuid = ''] = await cloud.boot(1)
  await cloud.on('h2')
  const large = aFlavor({ 'hw:mem_encryption': 'true' }, { flavorid: 'f2', name: 'm1.large', vcpus: 4 })
  const ask = { instance_uuid: uuid }
  const aSecond = () => {
    const second = Math.floor(Date.now() / 1000)
    return vi.waitFor(() => expect(Math.floor(Date.now() / 1000)).toBeGreaterThan(second), SETTLE)
  }

  await aSecond()
  await cloud.conductor.stopInstance(cloud.context, ask)
  await cloud.becomes(uuid, 'stopped')
  await aSecond()
  await cloud.conductor.resizeInstance(cloud.context, { ...ask, flavor: large })
  await cloud.becomes(uuid, 'resized', { host: 'h2' })
  expect(await cloud.slots()).toEqual({ h1: 1, h2: 1 })
  await aSecond()
  await cloud.conductor.confirmResize(cloud.context, ask)
  await cloud.becomes(uuid, 'stopped', { host: 'h2' })
  await aSecond()
  await cloud.conductor.startInstance(cloud.context, ask)
  await cloud.becomes(uuid, 'active')
  await aSecond()
  await cloud.conductor.deleteInstance(cloud.context, ask)
  await vi.waitFor(
    () => expect(cloud.events.filter((event) => event.startsWith('slot.released'))).toHaveLength(2),
    SETTLE,
  )

  const { notifications } = cloud
  // What is told may be told a second after it was so.
  const data = (event: string) =>
    notifications.find(({ event_type }) => event_type === event)?.payload['nova_object.data'] ?? {}
  const moments = [
    ...[data('instance.create.end').launched_at, data('instance.power_off.end').updated_at],
    ...[data('instance.resize_finish.end').launched_at, data('instance.resize_confirm.end').updated_at],
    ...[data('instance.power_on.end').updated_at, data('instance.delete.end').terminated_at],
  ]
  const records = await billed(notifications)
  expect(records.map(({ host, flavor, vcpus, model, state }) => [host, flavor, vcpus, model, state].join(' '))).toEqual(
    [
      'h1 m1.test 1 amd-sev active',
      'h1 m1.test 1 amd-sev stopped',
      'h2 m1.large 4 amd-sev resized',
      'h2 m1.large 4 amd-sev stopped',
      'h2 m1.large 4 amd-sev active',
    ],
  )
  expect(records.map(({ from, to }) => [from, to])).toEqual(moments.slice(1).map((to, n) => [moments[n], to]))
  const slots = notifications.filter(({ event_type }) => event_type.startsWith('slot.'))
  expect(slots.map(({ event_type, payload }) => `${event_type} ${payload['nova_object.data'].provider}`)).toEqual([
    'slot.claimed h1_amd_sev',
    'slot.claimed h2_amd_sev',
    'slot.released h1_amd_sev',
    'slot.released h2_amd_sev',
  ])
})
