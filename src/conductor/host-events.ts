import type { SevbusError } from '../errors.ts'
import { ruleOf } from '../objects/action-rules.ts'
import type { Fault } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { InstanceAction } from '../objects/instance-action.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { ConductorPorts } from './ports.ts'
import { LIVE, REBUILD, RESIZE, stagesOf, UNSHELVE } from './stages.ts'

/**
 * What is told in the name of a host's compute service, where consumers look for it. It is stored here all the same, with the
 * fact: the reports of hosts, and what they are told to do, all come by here, so one counter numbers what is told of an
 * instance, and nothing is told of a try that turns out to be void. See docs/decisions/0011.
 */
type Teller = Pick<ConductorPorts, 'events'>

/** Nova's events of a build: a new instance is created by it, one that is evacuated is rebuilt, one that moves arrives. */
const CREATE = { start: 'instance.create.start', error: 'instance.create.error' } as const
const REBUILD_EVENTS = { start: 'instance.rebuild.start', error: 'instance.rebuild.error' } as const
const UNSHELVE_EVENTS = { start: 'instance.unshelve.start', error: 'instance.unshelve.error' } as const
const RESIZE_EVENTS = { start: 'instance.resize_finish.start', error: 'instance.resize.error' } as const

/** Nothing is built, and Nova tells nothing of a host that cannot take it. */
const LIVE_EVENTS = { start: undefined, error: undefined }

/** @param placed it has its host, and its slot */
export function buildStarts({ events }: Teller, context: RequestContext, placed: Instance): readonly DurableMessage[] {
  const claimed = events.slot('slot.claimed', context, placed)
  const { start } = buildOf(placed)
  const started = start && [events.onBehalfOf(placed.host as string).message(start, context, placed)]
  return [...claimed, ...(started ?? [])]
}

/** This try of it is over, and is charged for no more. @param instance as it was on its host */
export function buildFails(
  ports: Teller,
  context: RequestContext,
  instance: Instance,
  fault: Fault,
  error: SevbusError,
): readonly DurableMessage[] {
  const failed = { ...instance, fault, updated_at: fault.created_at }
  return [...buildIsOver(ports, context, failed, error), ...ports.events.slot('slot.released', context, instance)]
}

/** What has begun on its host has ended there. */
export function buildIsOver(
  { events }: Teller,
  context: RequestContext,
  instance: Instance,
  error: SevbusError,
): readonly DurableMessage[] {
  const event = buildOf(instance).error
  if (event === undefined) return []
  return [events.onBehalfOf(instance.host as string).message(event, context, { ...instance, task_state: null }, error)]
}

function buildOf(instance: Instance) {
  const stages = stagesOf(instance)
  if (stages === LIVE) return LIVE_EVENTS
  if (stages === RESIZE) return RESIZE_EVENTS
  if (stages === UNSHELVE) return UNSHELVE_EVENTS
  return stages === REBUILD ? REBUILD_EVENTS : CREATE
}

export function actionStarts(
  { events }: Teller,
  context: RequestContext,
  acting: Instance,
  action: InstanceAction,
): readonly DurableMessage[] {
  const { event } = ruleOf(action)
  if (event === undefined) return []
  const teller = events.onBehalfOf(acting.host as string)
  const before = action.name === 'shelve' ? [teller.existsSoFar(context, acting)] : []
  return [...before, teller.message(`instance.${event}.start`, context, acting, undefined, action)]
}

export function deletionStarts({ events }: Teller, context: RequestContext, deleting: Instance): DurableMessage {
  return events.onBehalfOf(deleting.host as string).message('instance.delete.start', context, deleting)
}

/** @param host where it was: what it had there is charged up to now */
export function deletionEnds(
  { events }: Teller,
  context: RequestContext,
  deleted: Instance,
  host: string,
): readonly DurableMessage[] {
  const gone = { ...deleted, host }
  const told = events.onBehalfOf(host).message('instance.delete.end', context, gone)
  return [told, ...events.slot('slot.released', context, gone)]
}
