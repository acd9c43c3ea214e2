import { audit } from './audit.ts'
import type { Checker } from './checker.ts'
import { isWanted, lastMove, leftBehind, type SimulatedInstance, waitsInBatch } from './instances.ts'
import { endOfMove, release } from './messages.ts'
import { must, Violation } from './violation.ts'
import type { World } from './world.ts'

/** More statements than anything of this size may need to come to rest. */
const TURNS = 5000

/**
 * Brings everything to rest, and then to nothing: whoever has no answer asks again, an audit finds what is there right,
 * everything is given back, and an audit finds nothing.
 */
export async function finish(world: World, checker: Checker, tell: (line: string) => void): Promise<void> {
  world.database = 'is well'
  if (world.running.length === 0) tell(`${world.startScheduler().name} starts`)
  await rest(world, checker)
  askOnce(world)
  await rest(world, checker)
  endMoves(world)
  await rest(world, checker)
  removeGuests(world)
  await rest(world, checker)
  // Who was refused gives back what an earlier try may have.
  giveBack(world, ({ answers, current }) => !answers.has(current))
  await rest(world, checker)
  tell('everything is at rest')
  await audit(world)

  giveBack(world, () => true)
  await rest(world, checker)
  removeGuests(world)
  await rest(world, checker)
  tell('everything is given back')
  const left = [
    ...world.tables.allocations,
    ...world.tables.inventories.filter(({ used, pinned }) => used + pinned > 0),
  ]
  must(left.length === 0, () => `after everything was given back there is ${JSON.stringify(left)}`)
  await audit(world)
}

/** Who has no answer. */
function askOnce(world: World): void {
  const batches = new Set<readonly SimulatedInstance[]>()
  for (const instance of world.instances.values()) {
    if (!isWanted(instance) || instance.answers.has(instance.current)) continue
    if (instance.batch && waitsInBatch(instance)) batches.add(instance.batch)
    else world.ask(instance, instance.current, world.pick(world.running))
  }
  for (const batch of batches) world.askForAll(batch.filter(isWanted), world.pick(world.running))
}

/** Who has found a destination stays there, who has not goes back. */
function endMoves(world: World): void {
  for (const instance of world.instances.values()) {
    const move = lastMove(instance)
    if (!isWanted(instance) || move?.state !== 'is open') continue
    const isThere = instance.answers.has(instance.tries)
    const end = move.migration.type === 'evacuation' ? 'finish' : 'confirm'
    const how = isThere ? end : 'revert'
    if (!isThere) instance.current = move.from
    world.messages.push(endOfMove(instance, move, how))
  }
}

/** Hosts remove what was evacuated from them. */
function removeGuests(world: World): void {
  for (const instance of world.instances.values()) {
    for (const move of leftBehind(instance)) world.messages.push(endOfMove(instance, move, 'confirm'))
  }
}

function giveBack(world: World, is: (instance: SimulatedInstance) => boolean): void {
  for (const instance of world.instances.values()) {
    if (!isWanted(instance) || !is(instance)) continue
    instance.gaveBackThrough = instance.tries
    world.messages.push(release(instance))
  }
}

/** Until nothing is on its way. */
async function rest(world: World, checker: Checker): Promise<void> {
  for (let turns = 0; turns < TURNS; turns++) {
    for (const message of world.messages) {
      if (message.state === 'waits' && world.running.length > 0) world.offer(message, world.pick(world.running))
    }
    await checker.check()
    if (world.waiting.length === 0 && world.messages.every(({ state }) => state === 'is done')) {
      const open = [...world.asks, ...world.batchAsks]
      must(open.length === 0, () => `${open.length} questions got no answer`)
      return
    }
    if (world.waiting.length > 0) await world.turn(world.pick(world.waiting), 'done')
  }
  throw new Violation(`not at rest after ${TURNS} statements: ${JSON.stringify(world.waiting.slice(0, 5))}`)
}
