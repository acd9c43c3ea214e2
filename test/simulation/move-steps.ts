import { setHost } from '../../src/scheduler/operating/host-settings.ts'
import { asked, MAX_TRIES } from './boot-steps.ts'
import {
  isMoving,
  isWanted,
  lastMove,
  leftBehind,
  type SimulatedInstance,
  type SimulatedMove,
  waitsInBatch,
} from './instances.ts'
import { endOfMove } from './messages.ts'
import type { Step } from './step.ts'
import type { World } from './world.ts'

/** What conductors do with instances that run, and what sets free what evacuations have left behind. */
export const MOVE_STEPS: readonly Step[] = [
  { weight: 6, act: beginMove },
  { weight: 6, act: endMove },
  { weight: 2, act: hostRemovesGuest },
  { weight: 1, act: operatorFences },
  { weight: 2, act: operatorGivesBack },
]

function beginMove(world: World) {
  const mayMove = (one: SimulatedInstance) => isWanted(one) && one.answers.has(one.current) && !isMoving(one)
  const instance = world.pickInstance((one) => mayMove(one) && one.tries < MAX_TRIES && !waitsInBatch(one))
  const source = instance?.answers.get(instance.current)
  if (instance === undefined || source === undefined || world.running.length === 0) return undefined
  const n = instance.uuid.slice(-2) + String(instance.tries).padStart(2, '0')
  const type = world.pick(['evacuation', 'migration', 'resize'] as const)
  const move: SimulatedMove = {
    migration: { uuid: `00000000-0000-4000-a000-${n.padStart(12, '0')}`, type },
    from: instance.current,
    source,
    mayBeFree: world.fenced.has(source.host),
    state: 'is open',
  }
  instance.ignored.push(source.host)
  instance.current = ++instance.tries
  instance.moves.set(instance.tries, move)
  return `${type} from ${source.host}: ${asked(world, instance, instance.tries)}`
}

/** Confirmed where the destination was found; reverted whenever its conductor gives it up. */
function endMove(world: World) {
  const isOpen = (one: SimulatedInstance) => isWanted(one) && lastMove(one)?.state === 'is open'
  const instance = world.pickInstance(isOpen)
  const move = instance && lastMove(instance)
  if (instance === undefined || move === undefined) return undefined
  const isThere = instance.answers.has(instance.tries)
  if (!isThere && world.random() < 0.6) return undefined
  const end = move.migration.type === 'evacuation' ? 'finish' : 'confirm'
  const how = isThere && world.random() < 0.6 ? end : 'revert'
  if (how === 'revert') instance.current = move.from
  const message = endOfMove(instance, move, how)
  world.messages.push(message)
  return `a conductor is to ${message.what}`
}

/** It is back, and its worker has found what was evacuated from it. */
function hostRemovesGuest(world: World) {
  const instance = world.pickInstance((one) => leftBehind(one).length > 0)
  const [move] = instance ? leftBehind(instance) : []
  if (instance === undefined || move === undefined) return undefined
  const message = endOfMove(instance, move, 'confirm')
  world.messages.push(message)
  return `${move.source.host} has removed what was left there: somebody is to ${message.what}`
}

async function operatorFences(world: World) {
  const host = world.pick(world.tables.hosts)?.host
  if (host === undefined) return undefined
  for (const instance of world.instances.values()) {
    for (const move of instance.moves.values()) if (move.source.host === host) move.mayBeFree = true
  }
  world.fenced.add(host)
  await world.operate((database) => setHost(database, host, { fenced: true }))
  return `an operator fences ${host}`
}

async function operatorGivesBack(world: World) {
  const [host] = world.fenced
  if (host === undefined) return undefined
  world.fenced.delete(host)
  await world.operate((database) => setHost(database, host, { forced_down: false }))
  return `an operator gives back ${host}`
}
