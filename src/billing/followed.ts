import { plainArray, textArray } from '../database/array-literal.ts'
import type { Database } from '../database/database.ts'
import type { Position, Positions } from '../notifications/positions.ts'
import type { CountedBack, Gap } from '../notifications/replay.ts'
import type { Numbered } from '../notifications/sequence-number.ts'

/** How far the ledger is with the notifications of each instance, what of them it misses, and whose numbers were given twice. */
export class Followed {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  /** How far it is with the notifications of each instance. */
  readonly positions: Positions = {
    read: async (instances) => {
      const rows = await this.#database.query<Position & { readonly instance_uuid: string }>(
        'select instance_uuid, last as sequence, message_id from event_positions where instance_uuid = any($1)',
        [instances],
      )
      return new Map(rows.map(({ instance_uuid, ...position }) => [instance_uuid, position]))
    },
    write: async (positions) => {
      await this.#database.query(
        `insert into event_positions (instance_uuid, last, message_id)
         select * from unnest($1::text[], $2::integer[], $3::text[])
         on conflict (instance_uuid) do update set last = excluded.last, message_id = excluded.message_id`,
        [
          textArray([...positions.keys()]),
          plainArray([...positions.values()].map(({ sequence }) => sequence)),
          textArray([...positions.values()].map(({ message_id }) => plainId(message_id))),
        ],
      )
    },
  }

  /** Instances whose end is not known, by uuid, page after page. */
  async *notEnded(pageSize = 1000): AsyncGenerator<readonly string[]> {
    for (let last = ''; ; ) {
      // First the page, then what is known of those: of all at once the planner reads every fact there is, for each page.
      const rows = await this.#database.query<{ readonly instance_uuid: string; readonly has_ended: boolean }>(
        `with page as materialized (
           select instance_uuid from event_positions where instance_uuid > $1 order by instance_uuid limit $2)
         select instance_uuid, exists (select from usage_facts f where f.instance_uuid = page.instance_uuid
                                          and f.fact like '%"instance.delete.end"%') as has_ended
           from page order by instance_uuid`,
        [last, pageSize],
      )
      const end = rows.at(-1)
      if (end === undefined) return
      yield rows.flatMap(({ instance_uuid, has_ended }) => (has_ended ? [] : instance_uuid))
      last = end.instance_uuid
    }
  }

  /** They are missing for good: what is billed may be wrong. */
  async noteLost({ instance_uuid, from, to }: Gap): Promise<void> {
    await this.#database.query(
      `insert into lost_events (instance_uuid, first, last) values ($1, $2, $3)
       on conflict (instance_uuid, first) do update set last = excluded.last`,
      [instance_uuid, from, to],
    )
  }

  async lostEvents(): Promise<readonly Gap[]> {
    return this.#database.query(
      'select instance_uuid, first as "from", last as "to" from lost_events order by instance_uuid, first',
    )
  }

  async isMissingSome(): Promise<boolean> {
    const [any] = await this.#database.query('select from lost_events limit 1')
    return any !== undefined
  }

  /** They came after all. */
  async found(came: readonly Numbered[]): Promise<void> {
    if (came.length === 0 || !(await this.isMissingSome())) return
    const numbers = byInstance(came)
    await this.#database.transaction(async (tx) => {
      const gaps = await tx.query<Gap>(
        'select instance_uuid, first as "from", last as "to" from lost_events where instance_uuid = any($1) for update',
        [[...numbers.keys()]],
      )
      for (const gap of gaps) {
        const left = without(gap, numbers.get(gap.instance_uuid) ?? new Set())
        await tx.query('delete from lost_events where instance_uuid = $1 and first = $2', [gap.instance_uuid, gap.from])
        for (const { from, to } of left)
          await tx.query('insert into lost_events (instance_uuid, first, last) values ($1, $2, $3)', [
            ...[gap.instance_uuid, from, to],
          ])
      }
    })
  }

  /** What is billed of it since may be of two clouds, or of one twice. */
  async noteCountedBack({ instance_uuid, reached, last_sequence }: CountedBack): Promise<void> {
    await this.#database.query(
      'insert into renumbered_events (instance_uuid, reached, counted) values ($1, $2, $3) on conflict do nothing',
      [instance_uuid, reached, last_sequence],
    )
  }

  async countedBack(): Promise<readonly (CountedBack & { readonly noted_at: Date })[]> {
    return this.#database.query(
      `select instance_uuid, reached, counted as last_sequence, noted_at from renumbered_events
        order by instance_uuid, noted_at, reached limit 1000`,
    )
  }
}

/** As senders make them; what another is cannot be stored, or is long, and is not compared. */
function plainId(message_id: string | null): string | null {
  return message_id !== null && /^[\w-]{1,255}$/.test(message_id) ? message_id : null
}

function byInstance(came: readonly Numbered[]): ReadonlyMap<string, ReadonlySet<number>> {
  const numbers = new Map<string, Set<number>>()
  for (const { uuid, sequence } of came) {
    const ofInstance = numbers.get(uuid.toLowerCase()) ?? new Set()
    numbers.set(uuid.toLowerCase(), ofInstance.add(sequence))
  }
  return numbers
}

function without({ instance_uuid, from, to }: Gap, found: ReadonlySet<number>): readonly Gap[] {
  const left: Gap[] = []
  let next = from
  for (const number of [...found].filter((each) => from <= each && each <= to).sort((a, b) => a - b)) {
    if (next < number) left.push({ instance_uuid, from: next, to: number - 1 })
    next = number + 1
  }
  return next <= to ? [...left, { instance_uuid, from: next, to }] : left
}
