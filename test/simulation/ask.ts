import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import type { Selection } from '../../src/objects/request-spec.ts'
import type { SimulatedInstance } from './instances.ts'
import type { SchedulerProcess } from './scheduler-process.ts'

type Outcome<Answer> = Answer | { readonly error: unknown }

/** A question for a host that is on its way. */
export interface Ask {
  readonly instance: SimulatedInstance
  readonly attempt: number
  readonly ignored: readonly string[]
  readonly scheduler: SchedulerProcess
  /** When it was asked, this try was void already: it must get nothing. */
  readonly isVoid: boolean
  /** Since then this scheduler has looked at the hosts anew. */
  hasLooked: boolean
  /** Models (`clear` for guests without) that no host could have given at some moment since that look. */
  readonly wereNone: Set<MemEncryptionModel | 'clear'>
  outcome?: Outcome<{ readonly selection: Selection }>
}

/** A question for hosts for all of these, or for none. */
export interface BatchAsk {
  readonly members: readonly SimulatedInstance[]
  readonly scheduler: SchedulerProcess
  hasLooked: boolean
  /** There was a moment since that look when not all would have found room. */
  didNotFit: boolean
  outcome?: Outcome<{ readonly selections: ReadonlyMap<string, Selection> }>
}

/** What would do for this try, best first: who moves gets none below what it has, but a resize is another order. */
export function choices({
  instance,
  attempt,
}: Pick<Ask, 'instance' | 'attempt'>): readonly (MemEncryptionModel | 'clear')[] {
  const { wish, moves } = instance
  if (wish.models.length === 0) return ['clear']
  const move = moves.get(attempt)
  const has = move?.migration.type === 'resize' ? undefined : move?.source.mem_encryption?.model
  return has === undefined ? wish.models : wish.models.slice(0, wish.models.indexOf(has) + 1)
}
