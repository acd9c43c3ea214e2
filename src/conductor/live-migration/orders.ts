import { ComputeApi } from '../../compute/rpc-api.ts'
import type { Queryable } from '../../database/database.ts'
import { InstanceInvalidState, MigrationError, type SevbusError } from '../../errors.ts'
import type { Instance } from '../../objects/instance.ts'
import type { InstanceAction, MigrationOrder } from '../../objects/instance-action.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { type CurrentAction, changeAction } from '../actions/action-store.ts'
import { type InstanceRecord, lockInstance } from '../instance-store.ts'
import { asLeft, toHost } from '../messages.ts'
import type { MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { LIVE } from '../stages.ts'
import { callOffLive } from './arrive.ts'

/**
 * The instance stays where it is. Before its source was told to send it that is so at once; then that host ends what is under way,
 * and its report says where the guest runs, for it may just have left. Asked again it is nothing.
 *
 * @throws InstanceNotFound, InstanceInvalidState
 */
export function abortLiveMigration(ports: ConductorPorts, context: RequestContext, uuid: string): Promise<Instance> {
  return change(ports, uuid, async (tx, record) => {
    const { instance, move } = record
    if (move?.type === 'live-migration' && move.status === 'reverting') return instance
    if (move?.type !== 'live-migration' || instance.task_state !== LIVE.waiting) {
      return order(ports, tx, context, record, 'abort')
    }
    const asked = { ...record, context }
    await ports.outbox.enqueue(tx, [
      told(ports, asked, move, 'abort', 'start'),
      told(ports, asked, move, 'abort', 'end'),
    ])
    return callOffLive(ports, tx, record, move, 'somebody wanted that it is given up')
  })
}

/** The guest goes on at its destination before all of its memory is there, or stands still until it is. @throws as abort */
export function forceCompleteLiveMigration(ports: ConductorPorts, context: RequestContext, uuid: string) {
  return change(ports, uuid, (tx, record) => order(ports, tx, context, record, 'force_complete'))
}

async function change(
  ports: ConductorPorts,
  uuid: string,
  work: (tx: Queryable, record: InstanceRecord) => Promise<Instance>,
): Promise<Instance> {
  const instance = await ports.database.transaction(async (tx) => work(tx, await lockInstance(tx, uuid)))
  ports.outbox.announce()
  return instance
}

async function order(
  ports: ConductorPorts,
  tx: Queryable,
  context: RequestContext,
  record: InstanceRecord,
  what: MigrationOrder,
): Promise<Instance> {
  const { instance, move, action } = record
  const going = goingOf(action)
  const orders = going?.orders ?? []
  if (move === undefined || action === undefined || going === undefined) throw notGoing(instance, what)
  if (orders.includes(what)) return instance
  // It is on its way to be given up.
  if (orders.includes('abort')) throw notGoing(instance, what)
  const ordered = { ...action, action: { ...going, orders: [...orders, what] } }
  await changeAction(tx, instance.uuid, ordered)
  await ports.outbox.enqueue(tx, [
    told(ports, { ...record, context }, move, what, 'start'),
    orderMessage(ports, asLeft(instance, move), ordered, what),
  ])
  return instance
}

type Going = Extract<InstanceAction, { name: 'live_migration' }>

function goingOf(action: CurrentAction | undefined): Going | undefined {
  return action?.action.name === 'live_migration' ? action.action : undefined
}

/** What is said, and said again, while it is under way. */
export function orderMessages(ports: ConductorPorts, source: Instance, action: CurrentAction) {
  return (goingOf(action)?.orders ?? []).map((what) => orderMessage(ports, source, action, what))
}

function orderMessage(
  { client }: Pick<ConductorPorts, 'client'>,
  source: Instance,
  { number, context }: CurrentAction,
  what: MigrationOrder,
): DurableMessage {
  const method = what === 'abort' ? 'liveMigrationAbort' : 'liveMigrationForceComplete'
  const to = toHost(source, source.host as string)
  return client.message(ComputeApi, method, context, { instance: source, number }, to)
}

/** Was it to be given up? */
export function isGivenUp({ action }: InstanceRecord): boolean {
  return goingOf(action)?.orders?.includes('abort') ?? false
}

/** How what was ordered has ended, by the end of the migration. @param error why the guest has not left; undefined: it has */
export function ordersEnd(
  ports: Pick<ConductorPorts, 'events'>,
  record: InstanceRecord,
  move: MoveRecord,
  error: SevbusError | undefined,
): readonly DurableMessage[] {
  const left = new MigrationError(`guest ${record.instance.uuid} had left before`, {
    instance_uuid: record.instance.uuid,
  })
  return (goingOf(record.action)?.orders ?? []).map((what) => {
    const isDone = (what === 'abort') === (error !== undefined)
    return isDone ? told(ports, record, move, what, 'end') : told(ports, record, move, what, 'error', error ?? left)
  })
}

/** Something else takes the place of the migration. */
export function ordersFail(
  ports: Pick<ConductorPorts, 'events'>,
  record: InstanceRecord,
  move: MoveRecord,
  error: SevbusError,
) {
  const orders = goingOf(record.action)?.orders ?? []
  return orders.map((what) => told(ports, record, move, what, 'error', error))
}

/** Nova's events, of the source. */
function told(
  { events }: Pick<ConductorPorts, 'events'>,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  what: MigrationOrder,
  phase: 'start' | 'end' | 'error',
  error?: SevbusError,
): DurableMessage {
  const teller = events.onBehalfOf(move.source_host)
  return teller.message(`instance.live_migration_${what}.${phase}`, context, asLeft(instance, move), error)
}

function notGoing({ uuid, vm_state, task_state, host }: Instance, what: MigrationOrder): InstanceInvalidState {
  const is = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const fix = `see how it is with: sevbus show ${uuid}`
  return new InstanceInvalidState(
    `instance ${uuid} is ${is}: live_migration_${what} needs one that is on its way to another host as it runs; ${fix}`,
    { instance_uuid: uuid, action: `live_migration_${what}`, vm_state, task_state, host, fix },
  )
}
