import { z } from 'zod'
import { call, cast, defineApi } from '../../src/rpc/contract.ts'

const Question = z.object({
  id: z.string(),
  n: z.int(),
  /** The server is to refuse it, with a typed error. */
  refuse: z.boolean(),
  /** How long the work takes. */
  work_ms: z.int().min(0),
  padding: z.string(),
})
const Answer = z.object({ id: z.string(), n: z.int(), padding: z.string() })

/** What the processes of the soak ask each other. */
export const QuestionApi = defineApi({
  service: 'questions',
  version: '1.0',
  methods: {
    double: call({ wire: 'double', since: '1.0', summary: 'Doubles a number.', input: Question, output: Answer }),
    ponder: call({
      wire: 'ponder',
      since: '1.0',
      summary: 'Doubles a number, and takes so long that the caller wants signs of life.',
      input: Question,
      output: Answer,
      monitorTimeoutMs: 4_000,
    }),
  },
})

/** A topic of its own: questions are lost with a queue that is deleted, and orders may not be. */
export const OrderApi = defineApi({
  service: 'orders',
  version: '1.0',
  methods: {
    carryOut: cast({
      wire: 'carry_out',
      since: '1.0',
      summary: 'Has an effect in the database, once for each id.',
      input: z.object({ id: z.string(), padding: z.string() }),
      output: z.null(),
    }),
  },
})

/** The answer that a question must have. */
export function doubled(n: number): number {
  return 2 * n
}
