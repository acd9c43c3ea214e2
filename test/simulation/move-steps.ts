import { asked, MAX_TRIES } from './boot-steps.ts'
import { isMoving, isWanted, lastMove, type SimulatedInstance, type SimulatedMove, waitsInBatch } from './instances.ts'
import { endOfMove } from './messages.ts'
import type { Step } from './step.ts'
import type { World } from './world.ts'

/** What conductors do with instances that run: migrations and resizes, which placement holds alike. */
export const MOVE_STEPS: readonly Step[] = [
  { weight: 6, act: beginMove },
  { weight: 6, act: endMove },
]

function beginMove(world: World) {
  const mayMove = (one: SimulatedInstance) => isWanted(one) && one.answers.has(one.current) && !isMoving(one)
  const instance = world.pickInstance((one) => mayMove(one) && one.tries < MAX_TRIES && !waitsInBatch(one))
  const source = instance?.answers.get(instance.current)
  if (instance === undefined || source === undefined || world.running.length === 0) return undefined
  const n = instance.uuid.slice(-2) + String(instance.tries).padStart(2, '0')
  const type = world.pick(['migration', 'resize'] as const)
  const move: SimulatedMove = {
    migration: { uuid: `00000000-0000-4000-a000-${n.padStart(12, '0')}`, type },
    from: instance.current,
    source,
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
  const how = isThere && world.random() < 0.6 ? 'confirm' : 'revert'
  if (how === 'revert') instance.current = move.from
  move.state = how === 'confirm' ? 'is being confirmed' : 'is being reverted'
  const message = endOfMove(instance, move, how)
  world.messages.push(message)
  return `a conductor is to ${message.what}`
}
