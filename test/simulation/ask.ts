import type { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import type { Selection } from '../../src/objects/request-spec.ts'
import type { SimulatedInstance } from './instances.ts'
import type { SchedulerProcess } from './scheduler-process.ts'

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
  outcome?: { readonly selection: Selection } | { readonly error: unknown }
}

/** What would do for it, best first. */
export function choices({ instance }: Ask): readonly (MemEncryptionModel | 'clear')[] {
  return instance.wish.models.length > 0 ? instance.wish.models : ['clear']
}
