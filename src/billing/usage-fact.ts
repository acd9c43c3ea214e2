import { z } from 'zod'

/** As they are made (`read-fact.ts`), and so they are in order as texts. */
const Moment = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)

/** How an instance is at a moment, as far as somebody pays for it. */
const Charged = z.object({
  host: z.string().nullable(),
  flavor: z.object({
    name: z.string(),
    vcpus: z.int().min(0).nullable(),
    memory_mb: z.int().min(0).nullable(),
  }),
  /** What its memory is really encrypted with; null: in clear. */
  model: z.string().nullable(),
  /** Nova's vm_state: `active`, `stopped`, … */
  state: z.string().nullable(),
})
export type Charged = z.infer<typeof Charged>

/** What one notification tells about the use of an instance. Facts are a set: which came first does not matter. */
export const UsageFact = z.object({
  /** The notification's: the same twice is one fact. */
  message_id: z.string(),
  event_type: z.string(),
  instance_uuid: z.string(),
  /** `begins`: it is charged for from here on; `changes`: otherwise than before; `ends`; `exists`: seen in an audit period. */
  kind: z.enum(['begins', 'changes', 'ends', 'exists']),
  /** When it was so, in whole seconds of UTC; of `exists` the end of the period. */
  at: Moment,
  /** The notification's number among those of its instance: what came first in one second. Nova has none. */
  sequence: z.int().optional(),
  project_id: z.string().nullable(),
  user_id: z.string().nullable(),
  display_name: z.string().nullable(),
  charged: Charged,
  /** As the payload has it: what began is known even if its own notification was lost. */
  launched_at: Moment.nullable(),
  terminated_at: Moment.nullable(),
  /** Of `exists`: what it says was so then, some time after the period. */
  told_at: Moment.optional(),
  /** Of `exists` only. */
  period: z.object({ beginning: Moment, ending: Moment }).optional(),
  /** Of `exists` that was told with an operation of somebody's, of this instance alone: nothing follows for others. */
  of_operation: z.literal(true).optional(),
})
export type UsageFact = z.infer<typeof UsageFact>

/** A notification is of one instance: two that have the id of each other are two. */
export function keyOf({ instance_uuid, message_id }: Pick<UsageFact, 'instance_uuid' | 'message_id'>): string {
  return `${instance_uuid} ${message_id}`
}
