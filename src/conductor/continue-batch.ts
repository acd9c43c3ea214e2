import { SevbusError } from '../errors.ts'
import type { Selection } from '../objects/request-spec.ts'
import { askScheduler, isWorthAnotherLook, lookAgain } from './ask-scheduler.ts'
import type { AttemptKey } from './attempt-store.ts'
import { type InstanceRecord, waitingOfBatch } from './instance-store.ts'
import { handOver, type Place, placeOf, refuse } from './placing.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'

/**
 * Takes instances that are all or nothing to their hosts: one question, and one transaction for what comes of it. Of
 * those that still wait the first leads, so that the others' messages, sent again by the watchdog, ask nobody. What was
 * deleted meanwhile is not waited for.
 */
export async function continueBatch(
  ports: ConductorPorts,
  key: AttemptKey,
  batch: string,
  signal: AbortSignal,
): Promise<void> {
  const { database, scheduler, outbox } = ports
  const members = await waitingOfBatch(database, batch)
  const [leader] = members
  if (leader?.instance.uuid !== key.uuid) return
  const args = {
    request_spec: { ...requestSpec(leader.instance, []), migration: undefined },
    instance_uuids: members.map(({ instance }) => instance.uuid),
  }
  const ask = async () => (await scheduler.selectDestinationsOfBatch(leader.context, args, { signal })).selections
  const places = placesOf(members, await askScheduler(ports, leader.context, key, ask, signal))
  if (!(places instanceof SevbusError)) {
    await database.transaction(async (tx) => {
      for (const [uuid, place] of places) await handOver(ports, tx, { uuid, attempt: key.attempt }, place)
    })
  } else if (await isWorthAnotherLook(ports, key, places)) await lookAgain(ports, key)
  else {
    await database.transaction(async (tx) => {
      for (const { instance } of members) {
        await refuse(ports, tx, { uuid: instance.uuid, attempt: key.attempt }, places, [])
      }
    })
  }
  outbox.announce()
}

interface Answered {
  readonly instance_uuid: string
  readonly selection: Selection
}

/** One answer that would not encrypt as asked refuses them all. */
function placesOf(
  members: readonly InstanceRecord[],
  answer: readonly Answered[] | SevbusError,
): ReadonlyMap<string, Place> | SevbusError {
  if (answer instanceof SevbusError) return answer
  const places = new Map<string, Place>()
  for (const member of members) {
    const { instance } = member
    const found = answer.find(({ instance_uuid }) => instance_uuid === instance.uuid)
    // Void for the scheduler: it was deleted meanwhile.
    if (found === undefined) continue
    const place = placeOf(member, found.selection)
    if (place instanceof SevbusError) return place
    places.set(instance.uuid, place)
  }
  return places
}
