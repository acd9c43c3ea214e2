import { z } from 'zod'
import { hot } from '../hot-schema.ts'
import { type AnyNotification, SevbusExtension } from '../notifications/notification.ts'
import { spelledBoolean } from '../objects/spelled-value.ts'
import { cleanText } from '../objects/text.ts'
import type { UsageFact } from './usage-fact.ts'

/**
 * When it was so: at the moment that the payload names; of a change, when it was stored: what is ours says that in `updated_at`, and
 * is told some time after, maybe in the next second. Nova's are taken at the time of their telling.
 */
type Clock = 'launched_at' | 'terminated_at' | 'change' | 'audit_period'

/**
 * What is billed by: the ends of operations, for what has only begun may fail. Nova's, too, as far as they are known to
 * change who pays for what. Source: Nova's notification reference.
 */
const BILLED: Readonly<Record<string, readonly [UsageFact['kind'], Clock]>> = {
  'instance.create.end': ['begins', 'launched_at'],
  'instance.unshelve.end': ['begins', 'launched_at'],
  'instance.restore.end': ['begins', 'change'],
  'instance.rebuild.end': ['changes', 'launched_at'],
  // Where it is: it has what the new image asks for, and no guest. One that was to be evacuated is where it was.
  'instance.rebuild.error': ['changes', 'change'],
  // When its guest ran at its destination, which is a launch, in Nova, too.
  'instance.resize_finish.end': ['changes', 'launched_at'],
  // It may have been off before, and then it is off again.
  'instance.resize_confirm.end': ['changes', 'change'],
  'instance.resize_revert.end': ['changes', 'change'],
  'instance.live_migration_post_dest.end': ['changes', 'change'],
  'instance.power_off.end': ['changes', 'change'],
  'instance.power_on.end': ['changes', 'change'],
  // Hard, it is a way to start what was off, and so is a rescue.
  'instance.reboot.end': ['changes', 'change'],
  'instance.rescue.end': ['changes', 'change'],
  'instance.unrescue.end': ['changes', 'change'],
  'instance.pause.end': ['changes', 'change'],
  'instance.unpause.end': ['changes', 'change'],
  'instance.suspend.end': ['changes', 'change'],
  'instance.resume.end': ['changes', 'change'],
  'instance.delete.end': ['ends', 'terminated_at'],
  'instance.soft_delete.end': ['ends', 'change'],
  'instance.shelve_offload.end': ['ends', 'change'],
  'instance.exists': ['exists', 'audit_period'],
}

const iso = z.iso.datetime({ offset: true })
// Most are whole seconds already: the expression that knows leap years is for the others.
const moment = z.string().transform((value, context) => {
  if (IN_SECONDS.test(value)) return value
  if (!iso.safeParse(value).success) {
    context.addIssue('Invalid ISO datetime')
    return z.NEVER
  }
  const whole = wholeSeconds(value)
  if (whole === undefined) context.addIssue(`${JSON.stringify(value.slice(0, 40))} is not between 1970 and 9999`)
  return whole ?? z.NEVER
})
/** What Nova's database has room for. */
const size = z.int().min(0).max(2_147_483_647).nullable()
/** Names come from strangers: what is stored and shown of them is what a terminal can show. */
const name = z.string().transform((value) => cleanText(value, 255))
const versioned = <T extends z.ZodType>(data: T) => z.object({ 'nova_object.data': data })
const Flavor = z.object({
  name,
  vcpus: size,
  memory_mb: size,
  extra_specs: z.record(z.string(), z.string()).nullish(),
})

/** Of Nova's InstancePayload what is billed by, whatever its version. */
const Told = z.object({
  // As numbers of notifications have it, too: case says nothing.
  uuid: z.guid().transform((uuid) => uuid.toLowerCase()),
  tenant_id: name.nullish(),
  user_id: name.nullish(),
  display_name: name.nullish(),
  host: name.nullish(),
  state: name.nullish(),
  launched_at: moment.nullish(),
  terminated_at: moment.nullish(),
  deleted_at: moment.nullish(),
  updated_at: moment.nullish(),
  request_id: z.string().nullish(),
  action_initiator_user: z.string().nullish(),
  action_initiator_project: z.string().nullish(),
  flavor: versioned(Flavor),
  audit_period: versioned(z.object({ audit_period_beginning: moment, audit_period_ending: moment })).optional(),
})

/** Of what is ours beside it: no more is asked of it than is billed by. */
const Ours = z.object({
  mem_encryption: z.object({ model: name }).nullable(),
  sequence: SevbusExtension.shape.sequence,
})

const Billed = z.object({
  message_id: z.string().min(1),
  event_type: z.string(),
  timestamp: z.string(),
  payload: z.object({ 'nova_object.data': Told, sevbus: Ours.optional() }),
})

export function isBilled({ event_type }: Pick<AnyNotification, 'event_type'>): boolean {
  return event_type !== null && Object.hasOwn(BILLED, event_type)
}

/**
 * The fact in a notification that `isBilled`; undefined when it has none: an instance that never ran.
 * @throws an error that says what cannot be read
 */
export function readFact(notification: AnyNotification): UsageFact | undefined {
  const { message_id, event_type, timestamp, payload } = parsed(notification)
  const [kind, clock] = BILLED[event_type] as readonly [UsageFact['kind'], Clock]
  const told = payload['nova_object.data']
  if (told.launched_at === null || told.launched_at === undefined || isWhereItWas(event_type, told)) return undefined
  const terminated = endOf(told)
  const period = told.audit_period?.['nova_object.data']
  if (kind === 'exists' && period === undefined) throw new Error('instance.exists has no audit_period')
  const flavor = told.flavor['nova_object.data']
  return {
    message_id: cleanText(message_id, 255),
    event_type,
    instance_uuid: told.uuid,
    kind,
    at: momentOf(clock, told, payload.sevbus !== undefined) ?? toldAt(timestamp),
    ...(payload.sevbus?.sequence !== undefined && { sequence: payload.sevbus.sequence }),
    project_id: told.tenant_id ?? null,
    user_id: told.user_id ?? null,
    display_name: told.display_name ?? null,
    charged: {
      host: told.host ?? null,
      flavor: { name: flavor.name, vcpus: flavor.vcpus, memory_mb: flavor.memory_mb },
      model: payload.sevbus ? (payload.sevbus.mem_encryption?.model ?? null) : askedFor(flavor),
      state: told.state ?? null,
    },
    launched_at: told.launched_at,
    terminated_at: terminated,
    ...(period && {
      told_at: toldAt(timestamp),
      period: { beginning: period.audit_period_beginning, ending: period.audit_period_ending },
      ...(isAskedFor(told, payload.sevbus !== undefined) && { of_operation: true }),
    }),
  }
}

/** What is ours has no request where nobody has asked for it, as an audit; Nova's periodic tasks may have one, and are nobody's. */
function isAskedFor(told: z.infer<typeof Told>, isOurs: boolean): boolean {
  const { request_id, action_initiator_user: user, action_initiator_project: project } = told
  return ((isOurs ? request_id : (user ?? project)) ?? null) !== null
}

function endOf({ terminated_at, deleted_at }: z.infer<typeof Told>): string | null {
  return terminated_at ?? deleted_at ?? null
}

function momentOf(clock: Clock, told: z.infer<typeof Told>, isOurs: boolean): string | null | undefined {
  switch (clock) {
    case 'launched_at':
      return told.launched_at
    case 'terminated_at':
      return endOf(told)
    case 'change':
      return isOurs ? told.updated_at : undefined
    case 'audit_period':
      return told.audit_period?.['nova_object.data'].audit_period_ending
  }
}

/** Another host could not build it. */
function isWhereItWas(event_type: string, { state }: z.infer<typeof Told>): boolean {
  return event_type === 'instance.rebuild.error' && state !== 'error'
}

function parsed(notification: AnyNotification): z.infer<typeof Billed> {
  const result = hot(Billed).safeParse(notification)
  if (result.success) return result.data
  throw new Error(result.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '))
}

/** Nova tells what the flavor asks for, and nothing of what images do. Its default model is amd-sev. */
function askedFor({ name, extra_specs }: z.infer<typeof Flavor>): string | null {
  const { 'hw:mem_encryption': wanted, 'hw:mem_encryption_model': model } = extra_specs ?? {}
  if (spelledBoolean(`flavor ${name}`, 'hw:mem_encryption', wanted) !== true) return null
  return cleanText(model ?? 'amd-sev', 64)
}

/** `2026-11-23 03:13:11.563000`, Python's form, has no zone and means UTC. */
function toldAt(timestamp: string): string {
  // As nearly all are.
  const plain = `${timestamp.slice(0, 10)}T${timestamp.slice(11, 19)}Z`
  if (IN_MICROSECONDS.test(timestamp) && IN_SECONDS.test(plain)) return plain
  const withT = timestamp.includes('T') ? timestamp : timestamp.replace(' ', 'T')
  const withZone = /(?:Z|[+-]\d\d:?\d\d)$/.test(withT.slice(10)) ? withT : `${withT}Z`
  const text = withZone.replace(/([+-]\d\d)(\d\d)$/, '$1:$2')
  const whole = IN_SECONDS.test(text) || iso.safeParse(text).success ? wholeSeconds(text) : undefined
  if (whole === undefined)
    throw new Error(`timestamp: ${JSON.stringify(timestamp.slice(0, 40))} is no time between 1970 and 9999`)
  return whole
}

const IN_SECONDS =
  /^(?:19[7-9]|[2-9]\d\d)\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\dZ$/
const IN_MICROSECONDS = /^.{10} .{8}\.\d{6}$/
const IN_YEARS = /^(?:19[7-9]|[2-9]\d\d)\d-/

/** Undefined: it is before 1970, or after 9999. */
function wholeSeconds(iso: string): string | undefined {
  // As most are already.
  if (IN_SECONDS.test(iso)) return iso
  const ms = Date.parse(iso)
  const text = Number.isNaN(ms) ? '' : new Date(ms).toISOString()
  return IN_YEARS.test(text) ? `${text.slice(0, 19)}Z` : undefined
}
