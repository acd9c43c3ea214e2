import { type ClaimRefused, StaleAttempt } from '../../errors.ts'
import type { Allocation, Migration, Selection } from '../../objects/request-spec.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'

/** Which try of which instance. */
export interface Try {
  readonly instance_uuid: string
  readonly attempt: number
  /** The move that the try belongs to. */
  readonly migration?: Migration | undefined
}

/** What an instance is to have. */
export interface Claim {
  readonly instance_uuid: string
  readonly selection: Selection
  /** What it has goes over to this, in the same step. */
  readonly migration?: Migration | undefined
  /** Of a rebuild: what it has when that is over, and until then the selection. */
  readonly becomes?: readonly Allocation[] | undefined
  /** Who is told of it when it is granted. */
  readonly told?: readonly DurableMessage[] | undefined
}

/** An inventory right after a claim: what the scheduler's memory is set to. */
export interface InventoryUse {
  readonly provider: string
  readonly resource_class: string
  readonly used: number
  readonly pinned: number
  readonly version: number
}

export interface Claimed {
  /** As asked; or what this try had claimed before, when another scheduler was asked too. */
  readonly selection: Selection
  /** False: this try had its claim before, and nothing was taken now. */
  readonly isNew: boolean
  /** Of this host, with all claims that went together. */
  readonly inventories: readonly InventoryUse[]
}

/** The outcome of one claim of a group: how it ended, or the typed refusal. */
export type ClaimOutcome = Claimed | ClaimRefused | StaleAttempt

export function stale({ instance_uuid, attempt }: Try, why: string): StaleAttempt {
  return new StaleAttempt(`try ${attempt} of instance ${instance_uuid} is void: ${why}`, {
    instance_uuid,
    attempt,
    fix: 'do nothing: a later try, or a deletion, has taken over',
  })
}
