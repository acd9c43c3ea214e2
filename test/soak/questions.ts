import { SevbusError } from '../../src/errors.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { doubled, OrderApi, QuestionApi } from './contract.ts'
import type { Outcome } from './ledger.ts'
import type { Means } from './member.ts'
import { oneOf } from './random.ts'

const TIMEOUTS_MS = [2_000, 5_000, 10_000] as const
/** Longer than its caller waits for a sign of life. */
const LONG_WORK_MS = 4_500
const LONG_TEXT = 20_000

/** Asks, and notes before and after. */
export class Questions {
  readonly #means: Means
  readonly #random: () => number
  readonly #newId: () => string
  /** Answered, or confirmed. */
  done = 0
  readonly #questions: ReturnType<typeof clientsOf>['questions']
  readonly #orders: ReturnType<typeof clientsOf>['orders']

  constructor(means: Means, client: RpcClient, random: () => number, newId: () => string) {
    this.#means = means
    this.#random = random
    this.#newId = newId
    const { questions, orders } = clientsOf(client)
    this.#questions = questions
    this.#orders = orders
  }

  /** One call: to any server or a certain one, small or large, quick or slow, to be answered or to be refused. */
  async call(): Promise<void> {
    const random = this.#random
    const id = this.#newId()
    const [n, refuse, isLong] = [Math.floor(random() * 1e9), random() < 0.1, random() < 0.01]
    const timeoutMs = isLong ? 10_000 : oneOf(random, TIMEOUTS_MS)
    const quickMs = random() < 0.1 ? Math.floor(random() * 200) : 0
    const question = { id, n, refuse, work_ms: isLong ? LONG_WORK_MS : quickMs, padding: this.padding() }
    const server = random() < 0.2 ? oneOf(random, this.#means.settings.servers) : undefined
    this.#means.ledger.write({ type: 'call', id, timeoutMs, answer: refuse ? 'refusal' : doubled(n) })
    const ask = isLong ? this.#questions.ponder : this.#questions.double
    const to = { timeoutMs, ...(server !== undefined && { server }) }
    await this.#note(id, async () => (await ask(newRequestContext(), question, to)).n)
  }

  /** An order without an outbox: once the broker has confirmed it, it must be carried out. */
  async cast(): Promise<void> {
    const id = this.#newId()
    const timeoutMs = oneOf(this.#random, TIMEOUTS_MS)
    this.#means.ledger.write({ type: 'cast', id, timeoutMs })
    await this.#note(id, async () => {
      await this.#orders.carryOut(newRequestContext(), { id, padding: this.padding() }, { timeoutMs })
      return 0
    })
  }

  padding(): string {
    return 'x'.repeat(this.#random() < 0.02 ? LONG_TEXT : 40)
  }

  async #note(id: string, ask: () => Promise<number>): Promise<void> {
    const begun = performance.now()
    const outcome: Outcome = await ask().then((n) => ({ n }), outcomeOf)
    if ('n' in outcome) this.done++
    this.#means.ledger.write({ type: 'ended', id, tookMs: performance.now() - begun, outcome })
  }
}

function clientsOf(client: RpcClient) {
  return { questions: client.of(QuestionApi), orders: client.of(OrderApi) }
}

function outcomeOf(thrown: unknown): Outcome {
  return thrown instanceof SevbusError ? { code: thrown.code } : { untyped: String(thrown) }
}
