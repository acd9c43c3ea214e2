import type { Queryable } from '../database/database.ts'
import { SevbusError } from '../errors.ts'
import { askScheduler, lookAgain } from './ask-scheduler.ts'
import { hostOf } from './host-life.ts'
import { type InstanceRecord, lockInstance } from './instance-store.ts'
import { continueBuildMessage, departureMessage, endMoveMessage } from './messages.ts'
import { endMove, findMove, type MoveRecord, noteArrival, noteLeftThere } from './migration-store.ts'
import { settle } from './moving.ts'
import type { ConductorPorts } from './ports.ts'
import { leftDestination, settleResize } from './resize/decide.ts'

/**
 * The guest runs at its destination. It does not count as the instance yet: the host that it comes from may have come back
 * meanwhile, with a guest of its own. That one is to go now, whatever happens, and is told so.
 */
export async function arrive(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  launchedAt: string,
): Promise<void> {
  await noteArrival(tx, move.uuid, instance.host as string, launchedAt, ports.now())
  await ports.outbox.enqueue(tx, [
    departureMessage(ports, instance, move),
    continueBuildMessage(ports, context, instance),
  ])
}

/** One copy counts: while the source is dead this one does; when it is back, its own has to be gone before. */
export async function continueArrival(
  ports: ConductorPorts,
  { instance, context }: InstanceRecord,
  move: MoveRecord,
  signal: AbortSignal,
): Promise<void> {
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  const ask = () => hostOf(ports, context, move.source_host, signal)
  const source = await askScheduler(ports, context, key, ask, signal)
  const isDead = !(source instanceof SevbusError) && source?.state !== 'up'
  if (!isDead) await lookAgain(ports, key)
  else {
    await ports.database.transaction(async (tx) => {
      const record = await lockInstance(tx, key.uuid)
      const now = record.move
      if (now?.uuid === move.uuid && now.arrived_at !== null) await settle(ports, tx, record, now, 'left behind')
    })
  }
  ports.outbox.announce()
}

export interface Departed {
  readonly instance_uuid: string
  readonly host: string
  readonly migration_uuid: string
}

/**
 * The host that an instance has left has nothing of it any more: what it had there is free; or the one that it is to go back
 * from. Told twice, it is nothing.
 */
export async function recordDeparted(ports: ConductorPorts, { instance_uuid, host, migration_uuid }: Departed) {
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, instance_uuid)
    const move = await findMove(tx, migration_uuid)
    if (move?.instance_uuid !== record.instance.uuid) return
    if (move.status === 'reverting' && move.dest_host === host) return leftDestination(ports, tx, record, move)
    if (move.source_host === host) return leftSource(ports, tx, record, move)
    if (move.dest_host === host && move.dest_attempt !== null) await noteLeftThere(tx, move.uuid, null, ports.now())
  })
  ports.outbox.announce()
}

async function leftSource(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
): Promise<void> {
  if (move.status === 'confirming') await settleResize(ports, tx, record, move, 'gone')
  else if (move.status === 'done') {
    await endMove(tx, move.uuid, 'completed', ports.now())
    await ports.outbox.enqueue(tx, [endMoveMessage(ports, move, 'confirmMove')])
  } else if (move.status === 'accepted' && move.arrived_at !== null) {
    await settle(ports, tx, record, move, 'gone')
  }
}
