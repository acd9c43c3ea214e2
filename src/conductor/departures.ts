import type { Instance } from '../objects/instance.ts'
import { pageOf } from '../rpc/page.ts'
import { findInstances } from './instance-store.ts'
import { asLeft, asReverted } from './messages.ts'
import { departuresFrom, type MoveRecord } from './migration-store.ts'
import type { ConductorPorts } from './ports.ts'

export interface DepartureQuery {
  readonly host: string
  readonly marker?: string | undefined
  readonly limit: number
}

export interface Departure {
  readonly migration_uuid: string
  /** As the host knows it that it has left. */
  readonly instance: Instance
}

/** What a host has to remove that was not there when its instances were brought elsewhere, or back to where they were. */
export async function listDepartures(
  { database }: Pick<ConductorPorts, 'database'>,
  { host, marker, limit }: DepartureQuery,
): Promise<readonly Departure[]> {
  const moves = await departuresFrom(database, host, marker, limit)
  const records = await findInstances(database, [...new Set(moves.map(({ instance_uuid }) => instance_uuid))])
  const instances = new Map(records.map(({ instance }) => [instance.uuid, instance]))
  return pageOf(
    moves.flatMap((move) => {
      const instance = instances.get(move.instance_uuid)
      return instance ? [{ migration_uuid: move.uuid, instance: asItIsThere(instance, move) }] : []
    }),
  )
}

function asItIsThere(instance: Instance, move: MoveRecord): Instance {
  return move.dest_attempt === null ? asLeft(instance, move) : asReverted(instance, move)
}
