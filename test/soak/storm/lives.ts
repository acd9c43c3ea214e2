import type { Queryable } from '../../../src/database/database.ts'

/** A stretch of time on one host, of one size, with one encryption. */
export interface Stretch {
  readonly uuid: string
  readonly from: string
  readonly to: string
  readonly host: string | null
  readonly flavor: string
  readonly model: string | null
}

type How = Pick<Stretch, 'host' | 'flavor' | 'model'>

interface Ended extends How {
  readonly uuid: string
  readonly ended: string
}

interface Move {
  readonly uuid: string
  readonly has_arrived: boolean
  readonly status: string
  readonly source_host: string
  readonly source_model: string | null
  readonly source_flavor: string | null
  readonly dest_host: string | null
  readonly dest_model: string | null
  readonly new_flavor: string | null
}

interface Told {
  readonly uuid: string
  readonly event: string
  readonly at: string
}

const seconds = (moment: string) => `to_char(${moment} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`

const ENDED = `
  select i.uuid, t.host, i.flavor ->> 'name' as flavor, i.mem_encryption ->> 'model' as model,
         ${seconds('i.terminated_at')} as ended
    from instances i join build_attempts t on t.instance_uuid = i.uuid and t.attempt = i.attempt
   where i.launched_at is not null and i.terminated_at is not null`

const MOVES = `
  select instance_uuid as uuid, arrived_at is not null as has_arrived, status, source_host, dest_host,
         source_encryption ->> 'model' as source_model, dest_encryption ->> 'model' as dest_model,
         source_flavor ->> 'name' as source_flavor, new_flavor ->> 'name' as new_flavor
    from migrations order by first_attempt`

/** When it began, from the first notification; when it came and went back, from those that were stored with that. */
const TOLD = `
  select uuid, event,
         case event when 'instance.create.end' then ${seconds(`(m #>> '{payload,nova_object.data,launched_at}')::timestamptz`)}
                    else ${seconds(`((m ->> 'timestamp')::timestamp at time zone 'UTC')`)} end as at
    from (select left(ordering_key, 36)::uuid as uuid, number, m ->> 'event_type' as event, m
            from (select ordering_key, number, (body::jsonb ->> 'oslo.message')::jsonb as m from outbox_sent) read) told
   where event in ('instance.create.end', 'instance.resize_finish.end', 'instance.resize_revert.end') order by number`

/**
 * What instances that are gone ran as, by the conductors' tables: how by the moves as they are recorded, when by what was
 * stored in one transaction with each change.
 */
export async function stretchesOf(cloud: Queryable): Promise<readonly Stretch[]> {
  const moves = byInstance(await cloud.query<Move>(MOVES))
  const told = byInstance(await cloud.query<Told>(TOLD))
  const ended = await cloud.query<Ended>(ENDED)
  return ended.flatMap((one) => whole(stretches(one, moves.get(one.uuid) ?? [], told.get(one.uuid) ?? [])))
}

function byInstance<Row extends { readonly uuid: string }>(rows: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  const found = new Map<string, Row[]>()
  for (const row of rows) found.set(row.uuid, [...(found.get(row.uuid) ?? []), row])
  return found
}

function stretches({ uuid, ended, ...last }: Ended, moves: readonly Move[], told: readonly Told[]): readonly Stretch[] {
  const arrived = moves.filter(({ has_arrived }) => has_arrived)
  let how: How = firstOf(last, moves, arrived)
  let move: Move | undefined
  let from = ended
  const found: Stretch[] = []
  for (const { event, at } of told) {
    if (event === 'instance.create.end') {
      from = at
      continue
    }
    const before: How = how
    if (event === 'instance.resize_finish.end') {
      move = arrived.shift()
      if (move === undefined) throw new Error(`${uuid} was told to have arrived more often than it has`)
      how = { host: move.dest_host, flavor: move.new_flavor ?? how.flavor, model: move.dest_model }
    } else if (move?.status === 'reverted') {
      how = { host: move.source_host, flavor: move.source_flavor ?? how.flavor, model: move.source_model }
      move = undefined
    }
    found.push({ uuid, from, to: at, ...before })
    from = at
  }
  return [...found, { uuid, from, to: ended, ...how }]
}

function firstOf(last: How, moves: readonly Move[], [first]: readonly Move[]): How {
  if (first === undefined) return last
  const flavor = moves.find(({ source_flavor }) => source_flavor !== null)?.source_flavor ?? last.flavor
  return { host: first.source_host, flavor, model: first.source_model }
}

/** What was so for no second is not billed, and two stretches of one kind are one. */
export function whole(stretches: readonly Stretch[]): readonly Stretch[] {
  const joined: Stretch[] = []
  for (const one of stretches.filter(({ from, to }) => from < to)) {
    const before = joined.at(-1)
    const goesOn =
      before !== undefined &&
      before.to === one.from &&
      before.host === one.host &&
      before.flavor === one.flavor &&
      before.model === one.model
    if (goesOn) joined[joined.length - 1] = { ...before, to: one.to }
    else joined.push(one)
  }
  return joined
}
