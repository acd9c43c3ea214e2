import { expect, it, vi } from 'vitest'
import { aFlavor } from '../support/requests.ts'
import { openSimulatedCloud } from './simulated-cloud.ts'

const SETTLE = { timeout: 60_000, interval: 50 }
const HOSTS = ['h1', 'h2', 'h3']
const SLOTS = { sev_slots: 25 }
const BOOTS = 50
const larger = aFlavor({ 'hw:mem_encryption': 'true' }, { flavorid: 'f2', name: 'm1.large', vcpus: 4, root_gb: 20 })

interface Load {
  readonly host: string
  readonly uuids: readonly string[]
}

const PHASES = /^(instance\.\w+)\.(start|end|error) (\S+)$/

/** By instance and event: have as many ended as have begun? */
function unended(events: readonly string[]): readonly string[] {
  const open = new Map<string, number>()
  for (const each of events) {
    const [, event, phase, uuid] = PHASES.exec(each) ?? []
    if (event === undefined) continue
    const key = `${event} ${uuid}`
    open.set(key, (open.get(key) ?? 0) + (phase === 'start' ? 1 : -1))
  }
  return [...open].filter(([, count]) => count !== 0).map(([key, count]) => `${key}: ${count}`)
}

it("an operator's day: fifty boots, guests that die, a dead host and its evacuation, a fence, a resize, a libvirt that hangs, and books that agree", async () => {
  const cloud = await openSimulatedCloud()
  const { conductor, operator, context } = cloud
  for (const host of HOSTS) await cloud.on(host, SLOTS)
  const on = async (host: string) => (await cloud.instances()).filter((instance) => instance.host === host)
  const rests = (uuid: string) => vi.waitFor(async () => expect((await cloud.get(uuid)).task_state).toBeNull(), SETTLE)
  const slotsBecome = (expected: object) =>
    vi.waitFor(async () => expect(await cloud.slots()).toMatchObject(expected), SETTLE)

  // In the morning fifty guests boot, on as many hosts as it takes.
  await cloud.boot(BOOTS)
  const byHost = await Promise.all(
    HOSTS.map(async (host) => ({ host, uuids: (await on(host)).map(({ uuid }) => uuid) })),
  )
  const [busy, dead, rest] = byHost.toSorted(
    (one, other) => other.uuids.length - one.uuids.length,
  ) as unknown as readonly [Load, Load, Load]
  await slotsBecome(Object.fromEntries(byHost.map(({ host, uuids }) => [host, uuids.length])))

  // Two guests end by themselves; one of them is started again.
  const [dies, diesToo] = busy.uuids as [string, string]
  await cloud.machine(busy.host).powerOff(dies)
  await cloud.machine(busy.host).powerOff(diesToo)
  await cloud.becomes(dies, 'stopped')
  await cloud.becomes(diesToo, 'stopped')
  await conductor.startInstance(context, { instance_uuid: dies })
  await cloud.becomes(dies, 'active')

  // A host dies with a stop on its way there; its instances are evacuated, and one is deleted instead.
  await cloud.off(dead.host, 0)
  await operator.setHost(context, { host: dead.host, forced_down: true })
  const [stops, goes, ...moves] = dead.uuids as [string, string, ...string[]]
  await conductor.stopInstance(context, { instance_uuid: stops })
  await conductor.deleteInstance(context, { instance_uuid: goes })
  for (const uuid of [stops, ...moves]) await conductor.evacuateInstance(context, { instance_uuid: uuid })
  for (const uuid of [stops, ...moves]) await rests(uuid)
  await slotsBecome({ [dead.host]: dead.uuids.length })
  await operator.setHost(context, { host: dead.host, fenced: true })
  await slotsBecome({ [dead.host]: 0 })
  await cloud.becomes(goes, 'deleted', { host: null })

  // It is back, and rid of its guests.
  await operator.setHost(context, { host: dead.host, forced_down: false })
  await cloud.on(dead.host, SLOTS)
  await vi.waitFor(async () => expect(await cloud.guests(dead.host)).toEqual([]), SETTLE)

  // One instance grows on another host, and one comes back from there: each has a slot on both meanwhile.
  const [waits, grows, returns] = (await on(rest.host))
    .filter(({ vm_state }) => vm_state === 'active')
    .map(({ uuid }) => uuid) as [string, string, string]
  const before = (await cloud.slots())[rest.host] as number
  await conductor.resizeInstance(context, { instance_uuid: grows, flavor: larger })
  await conductor.migrateInstance(context, { instance_uuid: returns })
  for (const uuid of [grows, returns]) await cloud.becomes(uuid, 'resized')
  expect((await on(rest.host)).map(({ uuid }) => uuid)).not.toContain(grows)
  await slotsBecome({ [rest.host]: before })
  await conductor.confirmResize(context, { instance_uuid: grows })
  await conductor.revertResize(context, { instance_uuid: returns })
  await cloud.becomes(grows, 'active', { flavor: larger })
  await cloud.becomes(returns, 'active', { host: rest.host })
  await slotsBecome({ [rest.host]: before - 1 })

  // A libvirt hangs: nothing new comes there, and what is asked of it waits.
  await cloud.off(rest.host)
  await cloud.on(rest.host, SLOTS, {}, { silentAfterMs: 2000 })
  cloud.machine(rest.host).reconfigure({ hangs: true })
  await cloud.seen(rest.host, { hypervisor_silence: { since: expect.any(String) } })
  const later = await cloud.boot(3)
  await conductor.stopInstance(context, { instance_uuid: waits })
  expect(await Promise.all(later.map(async (uuid) => (await cloud.get(uuid)).host))).not.toContain(rest.host)
  expect((await cloud.get(waits)).task_state).toBe('powering-off')
  cloud.machine(rest.host).reconfigure({ hangs: false })
  await cloud.becomes(waits, 'stopped')

  // In the evening ten instances go.
  const evening = (await cloud.instances()).slice(0, 10).map(({ uuid }) => uuid)
  for (const uuid of evening) await conductor.deleteInstance(context, { instance_uuid: uuid })
  for (const uuid of evening) await cloud.becomes(uuid, 'deleted')

  // The books agree: instances, claims, guests, keys, and what was told.
  const left = await cloud.instances()
  expect(left).toHaveLength(BOOTS + 3 - 1 - 10)
  await vi.waitFor(async () => {
    const used = Object.values(await cloud.slots()).reduce<number>((sum, slots) => sum + (slots ?? 0), 0)
    expect(used).toBe(left.length)
  }, SETTLE)
  await vi.waitFor(async () => expect(await cloud.audit()).toEqual([]), SETTLE)
  for (const { uuid, host, vm_state } of left.filter((instance) => instance.vm_state === 'active')) {
    expect([uuid, vm_state, await cloud.isEncrypted(host as string, uuid)]).toEqual([uuid, 'active', true])
  }
  await vi.waitFor(() => expect(unended(cloud.events)).toEqual([]), SETTLE)
}, 300_000)
