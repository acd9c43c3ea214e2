import { z } from 'zod'
import { Fault } from './fault.ts'
import { SeenGuestState } from './guest-deviation.ts'

/**
 * What is asked to be done to an instance that lives, with what was asked for beside it. Names are Nova's
 * (nova/compute/instance_actions.py).
 */
export const InstanceAction = z.discriminatedUnion('name', [
  z.object({ name: z.literal('start') }),
  z.object({
    name: z.literal('stop'),
    /** The guest is asked to shut down before its power is taken. */
    clean_shutdown: z.boolean(),
    /** What its guest did while the instance was to do something else: nobody asked for this stop. */
    observed: SeenGuestState.optional(),
  }),
  z.object({
    name: z.literal('reboot'),
    /** Soft: the guest is asked to shut down first. Either way it is a new start: nobody can reset the processors of SEV-ES. */
    reboot_type: z.enum(['SOFT', 'HARD']),
  }),
  z.object({ name: z.literal('pause') }),
  z.object({ name: z.literal('unpause') }),
  z.object({ name: z.literal('suspend') }),
  z.object({ name: z.literal('resume') }),
])
export type InstanceAction = z.infer<typeof InstanceAction>

/** How an action ended on its host: a fact, written there before it is told. */
export const ActionOutcome = z.discriminatedUnion('result', [
  z.object({ result: z.literal('done') }),
  z.object({
    result: z.literal('failed'),
    fault: Fault,
    /** What the guest does after it; `missing`: the host has no guest of the instance. */
    guest: SeenGuestState,
  }),
])
export type ActionOutcome = z.infer<typeof ActionOutcome>

/** One action of an instance, as `explain` shows it. */
export const ActionRecord = z.object({
  /** Grows with each action of the instance; what comes late of an earlier one is known by it. */
  number: z.int().min(1),
  action: InstanceAction,
  /** `given up`: a deletion, an evacuation, or another action took its place. */
  status: z.enum(['accepted', 'completed', 'failed', 'given up']),
  fault: Fault.nullable(),
  request_id: z.string().max(255).nullable(),
  started_at: z.iso.datetime(),
  ended_at: z.iso.datetime().nullable(),
})
export type ActionRecord = z.infer<typeof ActionRecord>
