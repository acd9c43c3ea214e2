import { ServerLost } from '../errors.ts'
import type { Dispatch } from './dispatcher.ts'
import type { Endpoints } from './endpoints.ts'
import { encodeFailure } from './failure.ts'
import { NextTurn } from './next-turn.ts'
import { RecentIds } from './recent-ids.ts'
import type { Replier, ReplyAddress } from './replier.ts'
import type { Request } from './request.ts'
import type { Delivery } from './transport.ts'

export interface CallsOptions {
  readonly endpoints: Endpoints
  readonly replier: Replier
  /** Running work is to stop: nothing is begun any more. */
  readonly signal: AbortSignal
}

/** At most once: a call is acknowledged on arrival, begun by one server or by none, and answered once. */
export class Calls {
  readonly #options: CallsOptions
  readonly #begun = new RecentIds()
  /** A call begins when its acknowledgement has left the process: killed after that, it is not delivered again. */
  readonly #turn = new NextTurn()

  constructor(options: CallsOptions) {
    this.#options = options
  }

  /**
   * A repeat has nothing to do, whether the first is done or still runs. During a drain those that are here already are served,
   * too: given back, they would be told from those that had begun by nobody.
   */
  async serve(delivery: Delivery, request: Request, address: ReplyAddress): Promise<void> {
    delivery.ack()
    if (request.uniqueId !== undefined && this.#begun.add(request.uniqueId)) return
    const reason = this.#whyNotBegun(delivery)
    if (reason !== undefined) return await this.#options.replier.failure(address, encodeFailure(reason))
    await this.#turn.next()
    await this.#answer(request, address)
  }

  /** Sent without asking for the result; it may still not be done twice. */
  async serveUnanswered(delivery: Delivery, request: Request, found: Dispatch): Promise<void> {
    const { endpoints } = this.#options
    delivery.ack()
    await this.#turn.next()
    await endpoints.run(request, found).catch((error: unknown) => endpoints.logFailure(request, error))
  }

  /** A call that was delivered before may have begun there: its acknowledgement can be lost with the connection. */
  #whyNotBegun({ deliveryCount }: Delivery): Error | undefined {
    const { signal } = this.#options
    if (signal.aborted) return signal.reason
    if (deliveryCount === 1) return undefined
    const fix = 'look whether the work was done, or ask again if it may be done twice'
    return new ServerLost(`the server that had the call was lost; it may have begun there, so ${fix}`, { fix })
  }

  async #answer(request: Request, address: ReplyAddress): Promise<void> {
    const { endpoints, replier } = this.#options
    const signs = replier.signsOfLife(address)
    try {
      const result = await endpoints.run(request, endpoints.find(request))
      signs.stop()
      await replier.result(address, result)
    } catch (error) {
      signs.stop()
      endpoints.logFailure(request, error)
      await replier.failure(address, encodeFailure(error))
    }
  }
}
