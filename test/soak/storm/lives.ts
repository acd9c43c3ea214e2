import type { Queryable } from '../../../src/database/database.ts'
import { MEM_ENCRYPTION_MODELS } from '../../../src/objects/mem-encryption.ts'

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
  /** When its guest ran there; null: it has not come. */
  readonly arrived_at: string | null
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
  readonly launched_at: string
  readonly updated_at: string
}

interface Shelved {
  readonly uuid: string
  readonly host: string
  /** Of its slot; null: in clear. */
  readonly pool: string | null
}

const seconds = (moment: string) => `to_char(${moment} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`

const ENDED = `
  select i.uuid, t.host, i.flavor ->> 'name' as flavor, i.mem_encryption ->> 'model' as model,
         ${seconds('i.terminated_at')} as ended
    from instances i join build_attempts t on t.instance_uuid = i.uuid and t.attempt = i.attempt
   where i.launched_at is not null and i.terminated_at is not null`

const MOVES = `
  select instance_uuid as uuid, ${seconds('arrived_at')} as arrived_at, status, source_host, dest_host,
         source_encryption ->> 'model' as source_model, dest_encryption ->> 'model' as dest_model,
         source_flavor ->> 'name' as source_flavor, new_flavor ->> 'name' as new_flavor
    from migrations order by first_attempt`

/** What went back is what it was when its source had done that. */
const RETURNS = `
  select instance_uuid as uuid, ${seconds('ended_at')} as at from instance_actions
   where action ->> 'name' = 'finish_revert_resize' and status = 'completed' order by number`

/** Of those that were put away: what they ran as before. */
const SHELVED = `
  select instance_uuid as uuid, host,
         (select a ->> 'provider' from jsonb_array_elements(allocations) a
           where a ->> 'resource_class' = 'MEM_ENCRYPTION_CONTEXT') as pool
    from build_attempts where outcome = 'shelved' order by attempt`

/**
 * In which order it was so, and what no table keeps: when it first began, for later launches write over that, and when it was put
 * away, which was stored in one transaction with that.
 */
const TOLD = `
  select uuid, event, ${seconds(`(m #>> '{payload,nova_object.data,launched_at}')::timestamptz`)} as launched_at,
         ${seconds(`(m #>> '{payload,nova_object.data,updated_at}')::timestamptz`)} as updated_at
    from (select left(ordering_key, 36)::uuid as uuid, number, m ->> 'event_type' as event, m
            from (select ordering_key, number, (body::jsonb ->> 'oslo.message')::jsonb as m from outbox_sent) read) told
   where event in ('instance.create.end', 'instance.resize_finish.end', 'instance.resize_revert.end',
                   'instance.shelve_offload.end', 'instance.unshelve.end') order by number`

/** All that is known of one instance that is gone. */
interface Life {
  readonly ended: Ended
  readonly moves: readonly Move[]
  readonly returns: readonly { readonly at: string }[]
  readonly shelved: readonly Shelved[]
  readonly told: readonly Told[]
}

/**
 * What instances that are gone ran as, by the conductors' tables: how by the moves and tries as they are recorded, when by what was
 * recorded of each change.
 */
export async function stretchesOf(cloud: Queryable): Promise<readonly Stretch[]> {
  const moves = byInstance(await cloud.query<Move>(MOVES))
  const returns = byInstance(await cloud.query<{ uuid: string; at: string }>(RETURNS))
  const shelved = byInstance(await cloud.query<Shelved>(SHELVED))
  const told = byInstance(await cloud.query<Told>(TOLD))
  const ended = await cloud.query<Ended>(ENDED)
  return ended.flatMap((one) => {
    const of = <Row>(rows: ReadonlyMap<string, readonly Row[]>) => rows.get(one.uuid) ?? []
    const its = { moves: of(moves), returns: of(returns), shelved: of(shelved), told: of(told) }
    return whole(stretches({ ended: one, ...its }))
  })
}

function byInstance<Row extends { readonly uuid: string }>(rows: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  const found = new Map<string, Row[]>()
  for (const row of rows) found.set(row.uuid, [...(found.get(row.uuid) ?? []), row])
  return found
}

function stretches(life: Life): readonly Stretch[] {
  const { uuid } = life.ended
  const found: Stretch[] = []
  let now: (How & { readonly from: string }) | undefined
  for (const { at, how } of changesOf(life)) {
    if (now !== undefined) found.push({ uuid, to: at, ...now })
    now = how && { from: at, ...how }
  }
  return found
}

interface Change {
  readonly at: string
  /** Undefined: it is on no host. */
  readonly how: How | undefined
}

function changesOf(life: Life): readonly Change[] {
  const { uuid, ended, ...last } = life.ended
  const arrived = life.moves.filter(({ arrived_at }) => arrived_at !== null)
  const returns = [...life.returns]
  let how: How = firstOf(last, life, arrived[0])
  let move: Move | undefined
  const changes: Readonly<Record<string, (told: Told) => Change>> = {
    'instance.create.end': ({ launched_at }) => ({ at: launched_at, how }),
    'instance.resize_finish.end': () => {
      move = arrived.shift()
      if (move === undefined) throw new Error(`${uuid} was told to have arrived more often than it has`)
      const { dest_host: host, dest_model: model, new_flavor } = move
      how = { host, model, flavor: new_flavor ?? how.flavor }
      return { at: move.arrived_at as string, how }
    },
    'instance.resize_revert.end': () => {
      const back = returns.shift()
      if (back === undefined) throw new Error(`${uuid} was told to be back more often than it was brought back`)
      if (move?.status === 'reverted') how = asBefore(move, how)
      move = undefined
      return { at: back.at, how }
    },
    'instance.shelve_offload.end': ({ updated_at }) => ({ at: updated_at, how: undefined }),
    // It was done nothing else to.
    'instance.unshelve.end': ({ launched_at }) => ({ at: launched_at, how: last }),
  }
  return [...life.told.flatMap((told) => changes[told.event]?.(told) ?? []), { at: ended, how: undefined }]
}

function asBefore({ source_host: host, source_flavor, source_model: model }: Move, { flavor }: How): How {
  return { host, flavor: source_flavor ?? flavor, model }
}

function firstOf(last: How, { moves, shelved: [put] }: Life, arrived: Move | undefined): How {
  if (put !== undefined) return { host: put.host, flavor: last.flavor, model: modelOf(put) }
  if (arrived === undefined) return last
  const flavor = moves.find(({ source_flavor }) => source_flavor !== null)?.source_flavor ?? last.flavor
  return { host: arrived.source_host, flavor, model: arrived.source_model }
}

/** By the name of the pool of its slot. */
function modelOf({ host, pool }: Shelved): string | null {
  if (pool === null) return null
  const found = Object.entries(MEM_ENCRYPTION_MODELS).find(([, { poolSuffix }]) => pool === `${host}${poolSuffix}`)
  return found?.[0] ?? `of the pool ${pool}`
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
