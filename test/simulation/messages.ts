import type { RequestInfo } from '../../src/rpc/contract.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import type { Move } from '../../src/scheduler/placement/moves.ts'
import type { SimulatedInstance, SimulatedMove } from './instances.ts'
import type { SchedulerProcess } from './scheduler-process.ts'

export const info: RequestInfo = { context: newRequestContext(), signal: new AbortController().signal }

/** A cast: offered again until a scheduler has handled it, and now and then once more. */
export interface Message {
  readonly instance: SimulatedInstance
  /** In words: for the trace. */
  readonly what: string
  state: 'waits' | 'is handled' | 'is done'
  handle(scheduler: SchedulerProcess): Promise<unknown>
  /** It is known that it was done. */
  done(): void
}

/** What tries up to the last one have claimed goes back. */
export function release(instance: SimulatedInstance): Message {
  const attempt = instance.tries
  const { uuid: instance_uuid } = instance
  return {
    instance,
    what: `give back ${instance.name} up to try ${attempt}`,
    state: 'waits',
    handle: ({ manager }) => manager.releaseAllocations({ instance_uuid, attempt }, info),
    done: () => {
      instance.voidedThrough = Math.max(instance.voidedThrough, attempt)
    },
  }
}

const ENDS = {
  finish: { begun: 'is being finished', state: 'finished', ask: 'finishMove' },
  confirm: { begun: 'is being confirmed', state: 'confirmed', ask: 'confirmMove' },
  revert: { begun: 'is being reverted', state: 'reverted', ask: 'revertMove' },
} as const

/** From now on it is being ended. */
export function endOfMove(instance: SimulatedInstance, move: SimulatedMove, how: keyof typeof ENDS): Message {
  const { migration } = move
  const { begun, state, ask } = ENDS[how]
  move.state = begun
  const told: Move = { instance_uuid: instance.uuid, migration }
  return {
    instance,
    what: `${how} the move of ${instance.name} from ${move.source.host}`,
    state: 'waits',
    handle: ({ moves }) => moves[ask](told, info),
    done: () => {
      // It may come once more when another end has come since.
      if (move.state === begun) move.state = state
    },
  }
}

export function noteOfBuild(instance: SimulatedInstance, attempt: number, failure: string | null): Message {
  const host = instance.answers.get(attempt)?.host as string
  const outcome = { instance_uuid: instance.uuid, attempt, host, failure }
  return {
    instance,
    what: `note that ${instance.name} ${failure === null ? 'runs' : 'failed'} on ${host} by try ${attempt}`,
    state: 'waits',
    handle: ({ builds }) => builds.noteBuild(outcome, info),
    done: () => {},
  }
}
