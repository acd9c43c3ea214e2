import { anInstance, isMoving, isWanted, lastMove, type SimulatedInstance, waitsInBatch } from './instances.ts'
import { noteOfBuild, release } from './messages.ts'
import type { Step } from './step.ts'
import { WISHES } from './wishes.ts'
import type { World } from './world.ts'

const MAX_INSTANCES = 40
export const MAX_TRIES = 6

/** What conductors ask for. */
export const BOOT_STEPS: readonly Step[] = [
  { weight: 14, act: boot },
  { weight: 4, act: bootTogether },
  { weight: 6, act: sameTryAgain },
  { weight: 6, act: nextTry },
  { weight: 2, act: lateQuestion },
  { weight: 8, act: giveBack },
  { weight: 4, act: buildEnds },
]

function boot(world: World) {
  if (world.instances.size >= MAX_INSTANCES || world.running.length === 0) return undefined
  const instance = aNewOne(world, world.pick(WISHES))
  return asked(world, instance, instance.tries)
}

/** All or nothing. */
function bootTogether(world: World) {
  const count = world.pick([2, 3, 4])
  if (world.instances.size + count > MAX_INSTANCES || world.running.length === 0) return undefined
  const wish = world.pick(WISHES)
  const batch = Array.from({ length: count }, () => aNewOne(world, wish))
  for (const member of batch) member.batch = batch
  return askedForAll(world, batch)
}

/** Its conductor has not heard of it, or its message came twice. */
function sameTryAgain(world: World) {
  const instance = world.pickInstance(isWanted)
  if (instance === undefined) return undefined
  if (waitsInBatch(instance)) return askedForAll(world, instance.batch ?? [])
  return asked(world, instance, instance.current)
}

/** The build has failed, or nothing was heard of it. Within a move it is a try of the same move. */
function nextTry(world: World) {
  const isOpen = (instance: SimulatedInstance) => isWanted(instance) && instance.tries < MAX_TRIES
  const mayTry = (instance: SimulatedInstance) => !isMoving(instance) || lastMove(instance)?.state === 'is open'
  const instance = world.pickInstance((one) => isOpen(one) && mayTry(one) && !waitsInBatch(one))
  if (instance === undefined) return undefined
  const move = isMoving(instance) ? lastMove(instance) : undefined
  instance.ignored.push(instance.answers.get(instance.current)?.host ?? '')
  instance.current = ++instance.tries
  if (move !== undefined) instance.moves.set(instance.tries, move)
  return asked(world, instance, instance.tries)
}

/** It was long on its way. */
function lateQuestion(world: World) {
  const instance = world.pickInstance(
    ({ tries, gaveBackThrough, batch }) => batch === undefined && (tries > 1 || gaveBackThrough > 0),
  )
  return instance && asked(world, instance, 1 + Math.floor(world.random() * instance.tries))
}

function giveBack(world: World) {
  const instance = world.pickInstance(isWanted)
  if (instance === undefined) return undefined
  instance.gaveBackThrough = instance.tries
  world.messages.push(release(instance))
  return `${instance.name} is deleted: tries up to ${instance.tries}`
}

/** Well or not: its conductor tells it once, which may arrive twice. */
function buildEnds(world: World) {
  const isBuilt = ({ answers, noted, current }: SimulatedInstance) => answers.has(current) && !noted.has(current)
  const instance = world.pickInstance((one) => isWanted(one) && isBuilt(one))
  if (instance === undefined) return undefined
  const { current } = instance
  instance.noted.add(current)
  const message = noteOfBuild(instance, current, world.random() < 0.6 ? 'it did not start' : null)
  world.messages.push(message)
  return `a conductor is to ${message.what}`
}

function aNewOne(world: World, wish: (typeof WISHES)[number]): SimulatedInstance {
  const instance = anInstance(world.instances.size + 1, wish)
  world.instances.set(instance.uuid, instance)
  instance.tries = 1
  instance.current = 1
  return instance
}

/** Those that are still waited for. */
function askedForAll(world: World, batch: readonly SimulatedInstance[]) {
  const members = batch.filter((one) => isWanted(one) && waitsInBatch(one))
  const [first] = members
  if (first === undefined || world.running.length === 0) return undefined
  const scheduler = world.pick(world.running)
  world.askForAll(members, scheduler)
  return `${members.map(({ name }) => name).join(', ')} (${first.wish.name}), all or none, ask ${scheduler.name}`
}

export function asked(world: World, instance: SimulatedInstance, attempt: number) {
  if (world.running.length === 0) return undefined
  const scheduler = world.pick(world.running)
  world.ask(instance, attempt, scheduler)
  return `${instance.name} (${instance.wish.name}), try ${attempt}, asks ${scheduler.name}`
}
