import { StaleAttempt, toSevbusError } from '../errors.ts'
import type { AskedSelection } from '../notifications/selection-events.ts'
import type { RequestSpec } from '../objects/request-spec.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { Placement } from './placement/placement.ts'
import type { Telling } from './telling.ts'

/**
 * What is told of a request for a host: with its claim, in the same statement, or when it is refused. Nova tells that it
 * was asked before anything else; here it is not told of what is neither claimed nor refused, for that is asked again.
 */
export class ToldSelection {
  /** To be stored with the claim; made once, however often others are faster. Undefined: nobody is told. */
  readonly told: (() => readonly DurableMessage[]) | undefined
  readonly #telling: Telling | undefined
  readonly #asked: AskedSelection
  readonly #signal: AbortSignal

  private constructor(telling: Telling | undefined, asked: AskedSelection, signal: AbortSignal) {
    const selections = telling?.selections
    let found: readonly DurableMessage[] | undefined
    const told = () => {
      found ??= selections?.found(asked) ?? []
      return found
    }
    this.told = selections && told
    this.#telling = telling
    this.#asked = asked
    this.#signal = signal
  }

  /** Where nobody is told, nothing is looked up. */
  static async of(
    telling: Telling | undefined,
    placement: Pick<Placement, 'toldGroup'>,
    spec: RequestSpec,
    { context, signal }: RequestInfo,
  ): Promise<ToldSelection> {
    const asked = { spec, context, askedAt: new Date() }
    const isToLookUp = telling?.selections !== undefined && spec.scheduler_hints.group !== null
    const group = isToLookUp ? await placement.toldGroup(spec) : undefined
    return new ToldSelection(telling, { ...asked, group }, signal)
  }

  /** A try that is void was another's; what fails by an outage, or was given up, is asked again. */
  async refused(thrown: unknown): Promise<void> {
    const selections = this.#telling?.selections
    const error = toSevbusError(thrown)
    if (selections === undefined || this.#signal.aborted || error.isOutage || error instanceof StaleAttempt) return
    await this.#telling?.tell(selections.refused(this.#asked))
  }

  async rethrow(thrown: unknown): Promise<never> {
    await this.refused(thrown)
    throw thrown
  }
}
