import { z } from 'zod'

const Uuid = z.guid().toLowerCase()

const fields = {
  /** Server group that the instance becomes a member of; its policy says what that means. */
  group: Uuid.nullable().default(null),
  /** Instances on whose host it is to run: any of them. */
  same_host: z.array(Uuid).max(100).default([]),
  /** Instances on whose host it must not run: none of them. */
  different_host: z.array(Uuid).max(100).default([]),
}

/** What a request says about where it wants to run, beside its zone. Names are Nova's (`os:scheduler_hints`). */
export const SchedulerHints = z.object(fields)
export type SchedulerHints = z.infer<typeof SchedulerHints>

/** As somebody writes it: a hint that nobody follows is a mistake, not a wish. */
export const NewSchedulerHints = z.strictObject(fields)

export const NO_HINTS: SchedulerHints = { group: null, same_host: [], different_host: [] }
