import { BOOT_STEPS } from './boot-steps.ts'
import { LIES } from './lies.ts'
import { info } from './messages.ts'
import { MOVE_STEPS } from './move-steps.ts'
import { REPORT_INTERVAL_MS } from './simulated-host.ts'
import type { Step } from './step.ts'
import type { World } from './world.ts'

export const STEPS: readonly Step[] = [
  ...BOOT_STEPS,
  ...MOVE_STEPS,
  { weight: 150, act: someStatement },
  { weight: 9, act: offerMessage },
  { weight: 16, act: timePasses },
  { weight: 4, act: hostChanges },
  { weight: 2, act: hostLies },
  { weight: 1, act: hostVanishes },
  { weight: 1, act: hostReturns },
  { weight: 1, act: schedulerDies },
  { weight: 3, act: schedulerStarts },
  { weight: 1, act: databaseFails },
  { weight: 10, act: databaseRecovers },
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

/** Mostly once; it may come again when it was done already. */
function offerMessage(world: World) {
  const open = world.messages.filter(({ state }) => state === 'waits' || world.random() < 0.05)
  if (open.length === 0 || world.running.length === 0) return undefined
  const [message, scheduler] = [world.pick(open), world.pick(world.running)]
  world.offer(message, scheduler)
  return `${scheduler.name} is to ${message.what}`
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

/** What it reports cannot be true: nothing of it is taken. */
function hostLies(world: World) {
  const host = world.pick(world.hosts)
  // Until all have reported, nobody can know whose a provider is.
  const isEarly = world.tables.hosts.length < world.hosts.length
  if (!host.isAlive || isEarly || world.running.length === 0) return undefined
  const [name, lie] = world.pick(LIES)
  const scheduler = world.pick(world.running)
  scheduler.manager.reportHost({ report: lie(host.report()) }, info).catch(() => {})
  return `${host.name} tells ${scheduler.name} a lie: ${name}`
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
  'update compute_hosts set forced_down = false where host = $1 and not fenced',
  `delete from aggregate_hosts where host = $1`,
  `insert into aggregate_hosts (aggregate, host)
   select 'east', host from compute_hosts where host = $1 on conflict do nothing`,
] as const

async function operatorDecides(world: World) {
  const [sql, host] = [world.pick(DECISIONS), world.pick(world.hosts)]
  if (sql === DECISIONS[1]) world.closed.delete(host.name)
  await world.write(sql, [host.name])
  if (sql === DECISIONS[0] && world.tables.hosts.some((one) => one.host === host.name)) world.closed.add(host.name)
  return `an operator at ${host.name}: ${sql.replace(/\s+/g, ' ')}`
}
