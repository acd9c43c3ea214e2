import { anInstance, type SimulatedInstance } from './instances.ts'
import { REPORT_INTERVAL_MS } from './simulated-host.ts'
import { WISHES } from './wishes.ts'
import type { World } from './world.ts'

/** Something that happens. */
export interface Step {
  readonly weight: number
  /** @returns in words what happened; undefined when there was nothing that it could happen to */
  act(world: World): Promise<string | undefined> | string | undefined
}

const MAX_INSTANCES = 40
const MAX_TRIES = 4

export const STEPS: readonly Step[] = [
  { weight: 60, act: someStatement },
  { weight: 14, act: boot },
  { weight: 6, act: sameTryAgain },
  { weight: 6, act: nextTry },
  { weight: 2, act: lateQuestion },
  { weight: 7, act: giveBack },
  { weight: 6, act: offerRelease },
  { weight: 16, act: timePasses },
  { weight: 4, act: hostChanges },
  { weight: 1, act: hostVanishes },
  { weight: 1, act: hostReturns },
  { weight: 1, act: schedulerDies },
  { weight: 3, act: schedulerStarts },
  { weight: 1, act: databaseFails },
  { weight: 6, act: databaseRecovers },
  { weight: 1, act: clockJumps },
  { weight: 2, act: operatorDecides },
]

async function someStatement(world: World) {
  if (world.waiting.length === 0 || world.database === 'hangs') return undefined
  const one = world.pick(world.waiting)
  const dice = world.random()
  const mishap = dice < 0.01 ? 'broken' : dice < 0.02 ? 'answer lost' : dice < 0.03 ? 'refused' : 'done'
  const fate = world.database === 'refuses' ? 'refused' : mishap
  await world.turn(one, fate)
  return `${one.owner}${one.isHeard ? '' : ' (dead)'}: ${one.what}${fate === 'done' ? '' : `: ${fate}`}`
}

function boot(world: World) {
  if (world.instances.size >= MAX_INSTANCES || world.running.length === 0) return undefined
  const instance = anInstance(world.instances.size + 1, world.pick(WISHES))
  world.instances.set(instance.uuid, instance)
  instance.tries = 1
  return asked(world, instance, instance.tries)
}

/** Its conductor has not heard of it, or its message came twice. */
function sameTryAgain(world: World) {
  const instance = someInstance(world, ({ tries, gaveBackThrough }) => gaveBackThrough < tries)
  return instance && asked(world, instance, instance.tries)
}

/** The build has failed, or nothing was heard of it. */
function nextTry(world: World) {
  const isOpen = ({ tries, gaveBackThrough }: SimulatedInstance) => gaveBackThrough < tries && tries < MAX_TRIES
  const instance = someInstance(world, isOpen)
  if (instance === undefined) return undefined
  instance.ignored.push(instance.answers.get(instance.tries)?.host ?? '')
  instance.tries++
  return asked(world, instance, instance.tries)
}

/** It was long on its way. */
function lateQuestion(world: World) {
  const instance = someInstance(world, ({ tries, gaveBackThrough }) => tries > 1 || gaveBackThrough > 0)
  return instance && asked(world, instance, 1 + Math.floor(world.random() * instance.tries))
}

function asked(world: World, instance: SimulatedInstance, attempt: number) {
  if (world.running.length === 0) return undefined
  const scheduler = world.pick(world.running)
  world.ask(instance, attempt, scheduler)
  return `${instance.name} (${instance.wish.name}), try ${attempt}, asks ${scheduler.name}`
}

function giveBack(world: World) {
  const instance = someInstance(world, ({ tries, gaveBackThrough }) => gaveBackThrough < tries)
  if (instance === undefined) return undefined
  instance.gaveBackThrough = instance.tries
  world.releases.push({ instance, attempt: instance.tries, state: 'waits' })
  return `${instance.name} is deleted: tries up to ${instance.tries}`
}

/** Mostly once; it may come again when it was done already. */
function offerRelease(world: World) {
  const open = world.releases.filter(({ state }) => state === 'waits' || world.random() < 0.05)
  if (open.length === 0 || world.running.length === 0) return undefined
  const [release, scheduler] = [world.pick(open), world.pick(world.running)]
  world.offer(release, scheduler)
  return `${scheduler.name} is to give back ${release.instance.name} up to try ${release.attempt}`
}

function timePasses(world: World) {
  const ms = world.pick([100, 500, 1000, 2000])
  world.pass(ms)
  const due = world.hosts.filter(({ isAlive, dueMs }) => isAlive && dueMs <= world.clock.nowMs)
  for (const host of due) {
    host.dueMs = world.clock.nowMs + REPORT_INTERVAL_MS
    if (world.running.length > 0) world.report(host, world.pick(world.running))
  }
  return `${ms} ms pass; reports of ${due.map(({ name }) => name).join(', ') || 'nobody'}`
}

function hostChanges(world: World) {
  const host = world.pick(world.hosts)
  if (!host.isAlive || world.running.length === 0) return undefined
  const has = host.change(world.random)
  world.report(host, world.pick(world.running))
  return `${host.name} has ${has}`
}

function hostVanishes(world: World) {
  const host = world.pick(world.hosts)
  if (!host.isAlive) return undefined
  host.isAlive = false
  return `${host.name} vanishes`
}

function hostReturns(world: World) {
  const host = world.hosts.find(({ isAlive }) => !isAlive)
  if (host === undefined) return undefined
  host.isAlive = true
  host.dueMs = 0
  return `${host.name} is back`
}

function schedulerDies(world: World) {
  if (world.running.length === 0) return undefined
  const scheduler = world.pick(world.running)
  world.kill(scheduler)
  for (const release of world.releases) if (release.state === 'is handled') release.state = 'waits'
  return `${scheduler.name} is killed`
}

function schedulerStarts(world: World) {
  const living = world.schedulers.filter(({ state }) => state !== 'is dead')
  return living.length < 3 ? `${world.startScheduler().name} starts` : undefined
}

function databaseFails(world: World) {
  if (world.database !== 'is well') return undefined
  world.database = world.pick(['refuses', 'hangs'] as const)
  return `the database ${world.database}`
}

function databaseRecovers(world: World) {
  if (world.database === 'is well') return undefined
  world.database = 'is well'
  return 'the database is well again'
}

function clockJumps(world: World) {
  const ms = world.pick([90_000, 600_000])
  if (world.random() < 0.5) {
    world.clock.jump(ms)
    return `the machine was suspended for ${ms} ms`
  }
  const by = world.pick([ms, -ms, 3_600_000, -3_600_000])
  world.skew(by)
  return `the clock of the database is set by ${by} ms`
}

const DECISIONS = [
  `update compute_hosts set disabled = true, disabled_reason = 'maintenance', disabled_by = 'operator' where host = $1`,
  'update compute_hosts set disabled = false, disabled_reason = null, disabled_by = null where host = $1',
  'update compute_hosts set forced_down = true where host = $1',
  'update compute_hosts set forced_down = false where host = $1',
  `delete from aggregate_hosts where host = $1`,
  `insert into aggregate_hosts (aggregate, host)
   select 'east', host from compute_hosts where host = $1 on conflict do nothing`,
] as const

async function operatorDecides(world: World) {
  const [sql, host] = [world.pick(DECISIONS), world.pick(world.hosts)]
  await world.write(sql, [host.name])
  return `an operator at ${host.name}: ${sql.replace(/\s+/g, ' ')}`
}

function someInstance(world: World, is: (instance: SimulatedInstance) => boolean): SimulatedInstance | undefined {
  const found = [...world.instances.values()].filter(is)
  return found.length === 0 ? undefined : world.pick(found)
}
