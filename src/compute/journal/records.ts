import { z } from 'zod'
import { Instance } from '../../objects/instance.ts'
import { ActionOutcome, InstanceAction, MigrationOrder } from '../../objects/instance-action.ts'
import { LeftDisks } from '../../objects/left-disks.ts'
import { Allocation } from '../../objects/request-spec.ts'
import { UserData } from '../../objects/user-data.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import { RequestContext } from '../../rpc/request-context.ts'

const Try = { uuid: z.guid(), attempt: z.int().min(1) }
const Timestamp = z.iso.datetime()

/** How a termination ended, kept to answer a repeated one with the same words. */
const Terminated = z.strictObject({ at: Timestamp, void: z.boolean() })

/** A message with the id it is settled by. How often it failed is not written: a restart tries at once. */
export interface QueuedMessage extends DurableMessage {
  readonly id: string
  readonly storedAtMs?: number
}

const Message = z.custom<QueuedMessage>((value) => {
  const message = value as Partial<QueuedMessage> | null
  return typeof message?.id === 'string' && typeof message.body === 'string' && typeof message.to?.kind === 'string'
}, 'not a stored message')

/** One fact in the journal. A field's meaning never changes: a newer worker reads what an older one wrote. */
export const JournalRecord = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('build_begun'),
    instance: Instance,
    /** Absent: the conductor did not tell. */
    allocations: z.array(Allocation).optional(),
    /** For the config drive; gone from the journal with the build. */
    user_data: UserData.optional(),
    /** Of a guest that comes from another host: its disks there. */
    disks: LeftDisks.optional(),
    /** False: it is only defined. */
    power_on: z.boolean().optional(),
    /** The guest of an earlier try is to go for it. */
    rebuilds: z.literal(true).optional(),
    /** The guest came as it ran: nothing is built, and it is taken over. */
    live: z.literal(true).optional(),
    /** Who takes its end together with those of others; absent: it is told by itself. */
    reports_to: z.string().optional(),
    context: RequestContext,
    /** Times the worker died over it. */
    interruptions: z.int().min(0),
  }),
  /** Taken up again after a start of the worker. */
  z.strictObject({ type: z.literal('build_resumed'), ...Try }),
  /** Rolled back in good order because the worker stops: no interruption. */
  z.strictObject({ type: z.literal('build_handed_back'), ...Try }),
  /** Of a rebuild: from here on the guest of the earlier try goes. Until then that is the instance's, whatever comes of this. */
  z.strictObject({ type: z.literal('build_replaces'), ...Try }),
  z.strictObject({ type: z.literal('build_ended'), ...Try, outcome: z.enum(['active', 'failed', 'unwanted']) }),
  z.strictObject({
    type: z.literal('terminate_begun'),
    instance: Instance,
    context: RequestContext,
    void: z.boolean(),
    /** The move that has left the guest here: its end is told to the conductor, void or not. */
    migration_uuid: z.guid().optional(),
    /** What the instance has left on this host is kept. */
    keeps_disks_aside: z.boolean().optional(),
  }),
  z.strictObject({ type: z.literal('terminate_ended'), ...Try, ...Terminated.shape }),
  z.strictObject({
    type: z.literal('action_begun'),
    instance: Instance,
    /** Of the action among all of the instance. */
    number: z.int().min(1),
    action: InstanceAction,
    context: RequestContext,
  }),
  /** Of a reboot: its guest is off, and is to be started. */
  z.strictObject({ type: z.literal('action_powered_off'), uuid: z.guid(), number: z.int().min(1) }),
  /** Of a live migration that is under way. */
  z.strictObject({
    type: z.literal('migration_ordered'),
    uuid: z.guid(),
    number: z.int().min(1),
    order: MigrationOrder,
  }),
  /** The conductor does not want it any more: it is not done, and nobody is told. */
  z.strictObject({ type: z.literal('action_unwanted'), uuid: z.guid(), number: z.int().min(1) }),
  z.strictObject({ type: z.literal('action_ended'), ...Try, number: z.int().min(1), outcome: ActionOutcome }),
  /** The guest of an earlier try is the instance again: its number is below what was known here. */
  z.strictObject({ type: z.literal('try_restored'), ...Try }),
  /**
   * Compaction writes it: the tries that are over, but may be asked for again. Of a guest that may come as it runs it is the
   * first that is known, without an outcome.
   */
  z.strictObject({
    type: z.literal('attempt_known'),
    ...Try,
    outcome: z.enum(['active', 'failed', 'unwanted']).optional(),
    terminated: Terminated.optional(),
    over_through: z.int().min(1).optional(),
    refused_through: z.int().min(1).optional(),
  }),
  z.strictObject({ type: z.literal('queued'), messages: z.array(Message) }),
  z.strictObject({ type: z.literal('sent'), ids: z.array(z.string()) }),
])
export type JournalRecord = z.output<typeof JournalRecord>

/** First line of the file: whose it is, and how the rest is to be read. */
export const JournalHeader = z.strictObject({ sevbus_journal: z.literal(1), host: z.string() })
export type JournalHeader = z.infer<typeof JournalHeader>
