import { plainArray } from '../database/array-literal.ts'
import type { Database } from '../database/database.ts'
import { kept } from '../database/kept-statement.ts'
import { type StoredAs, takenAtOnce, toStore } from '../database/outbox.ts'
import { sqlState } from '../database/sql-state.ts'
import { retryTransaction } from '../database/transactions.ts'
import type { Instance } from '../objects/instance.ts'
import type { Selection } from '../objects/request-spec.ts'
import type { DurableMessage, StoredMessage } from '../rpc/durable-message.ts'
import { gathered } from '../rpc/gathered.ts'
import {
  ABOUT_ALL,
  type InstanceRecord,
  insertInstances,
  readInstances,
  type StoredTogether,
} from './instance-store.ts'
import type { Sender } from './messages.ts'
import { notesOf } from './note-builds.ts'
import { orderOf, ordersOf } from './order-builds.ts'
import { NOT_ALL_STEPS } from './schema.ts'

/** What becomes of an instance, of its try, and who is told of it. */
export interface Step {
  /** As it was read: the step is made if nobody has changed it since. */
  readonly record: InstanceRecord
  readonly next: Instance
  readonly outcome: 'spawning' | 'active'
  /** Of a try that has found its host. */
  readonly selection?: Selection
  /** Of a try that is over. */
  readonly endedAt?: Date
  readonly messages: readonly DurableMessage[]
  /** The guest runs: a scheduler is told besides, of many in one message. */
  readonly isNoted?: boolean
  /** Its host is told besides to build it, of many in one message. */
  readonly isOrdered?: boolean
}

/** An instance as it is accepted, with its first try and who is told of it. */
export interface Beginning {
  readonly record: InstanceRecord
  readonly messages: readonly DurableMessage[]
}

interface Looked {
  readonly uuid: string
  record?: InstanceRecord | undefined
}

/** What of an outbox those need who store messages in a statement of theirs. */
export interface StoringOutbox {
  /** For `outbox_put`: see `DatabaseOutbox`. */
  readonly storing: { readonly owner: string; readonly leaseMs: number }
  /** The statement is committed, and has taken these: send them now. */
  offer(messages: readonly StoredMessage[]): void
  /** The transaction is committed: send now. */
  announce(): void
}

/** Steps that are worth a statement of their own while many boots are under way. Fewer wait for more, but not long. */
const WORTH_A_STATEMENT = { enough: 16, waitMs: 5 }
/** Records that are kept, at most. */
const MAX_KNOWN = 1000

interface Asked<Item> {
  readonly item: Item
  messages: readonly DurableMessage[]
  isMade: boolean
}

/**
 * The steps of a boot that nothing disturbs, each one statement that is its own transaction, shared by all that come while
 * another runs: many boots, one commit. What is not made here, because somebody else was at the instance, is for the caller
 * to do with locks. The messages are taken as they are stored, so nobody has to look for them.
 */
export class Steps {
  readonly #database: Database
  readonly #outbox: StoringOutbox
  readonly #sender: Sender
  /**
   * As this conductor has written them, until they are asked for. Others may have changed them since: then their versions are
   * not the same any more, and a step is not made.
   */
  readonly #known = new Map<string, InstanceRecord>()
  readonly #read: (asked: Looked) => Promise<void>
  readonly #begin: (asked: Asked<Beginning>) => Promise<void>
  readonly #make: (asked: Asked<Step>) => Promise<void>

  /** @param sender makes the messages that tell schedulers of guests that run */
  constructor(database: Database, outbox: StoringOutbox, sender: Sender) {
    this.#database = database
    this.#outbox = outbox
    this.#sender = sender
    this.#read = gathered(async (asked) => {
      const records = await readInstances(
        database,
        asked.map(({ uuid }) => uuid),
      )
      for (const one of asked) one.record = records.get(one.uuid.toLowerCase())
    })
    this.#begin = gathered((asked) => this.#beginAll(asked), WORTH_A_STATEMENT)
    this.#make = gathered((asked) => this.#makeAll(asked), WORTH_A_STATEMENT)
  }

  /**
   * Undefined: there is none, or it has been booted before, and something is done to it.
   *
   * @param isReady for the step that is to be made: what was ready when it was last seen here is not read anew
   */
  async read(uuid: string, isReady: (instance: Instance) => boolean): Promise<InstanceRecord | undefined> {
    const known = this.#known.get(uuid)
    this.#known.delete(uuid)
    if (known !== undefined && isReady(known.instance)) return known
    const asked: Looked = { uuid }
    await this.#read(asked)
    return asked.record
  }

  /** @returns whether it is stored; false: its uuid is there already, or something is wrong with it */
  begin(beginning: Beginning): Promise<boolean> {
    return made(this.#begin, beginning.record.instance, beginning)
  }

  /** @returns whether it is made; false: the instance has changed, or something is wrong with the step */
  make(step: Step): Promise<boolean> {
    return made(this.#make, step.next, step)
  }

  async #beginAll(asked: readonly Asked<Beginning>[]): Promise<void> {
    const byUuid = firstOf(asked, ({ record }) => record.instance.uuid)
    const stored = await insertInstances(
      this.#database,
      [...byUuid.values()].map(({ item }) => item.record),
      messagesOf(byUuid),
      this.#outbox.storing,
    )
    this.#settle(byUuid, stored, ({ record }, version) => this.#remember({ ...record, version }))
  }

  /** Hosts are told of many builds in one message only where all of their steps can be made. */
  async #makeAll(asked: readonly Asked<Step>[]): Promise<void> {
    const byUuid = firstOf(asked, ({ next }) => next.uuid)
    const running = [...byUuid.values()].filter(({ item }) => item.isNoted)
    const notes = notesOf(
      this.#sender,
      running.map(({ item }) => item),
    )
    addTo(running, notes.each)
    const ordered = [...byUuid.values()].filter(({ item }) => item.isOrdered)
    const builds = ordered.map(({ item }) => ({ ...item, allocations: item.selection?.allocations ?? [] }))
    const orders = ordersOf(this.#sender, builds)
    const before = ordered.map(({ messages }) => messages)
    addTo(ordered, orders.each)
    if (orders.ofAll.length === 0) return await this.#makeBy(MAKE, byUuid, notes.ofAll)
    try {
      await this.#makeBy(MAKE_ALL, byUuid, [...notes.ofAll, ...orders.ofAll])
    } catch (error) {
      if (sqlState(error) !== NOT_ALL_STEPS) throw error
      for (const [n, one] of ordered.entries()) one.messages = before[n] as readonly DurableMessage[]
      addTo(
        ordered,
        builds.map((build) => [orderOf(this.#sender, build)]),
      )
      await this.#makeBy(MAKE, byUuid, notes.ofAll)
    }
  }

  async #makeBy(
    sql: string,
    byUuid: ReadonlyMap<string, Asked<Step>>,
    ofAll: readonly DurableMessage[],
  ): Promise<void> {
    const { owner, leaseMs } = this.#outbox.storing
    const rows = [...byUuid.values()].map(({ item }) => rowOf(item))
    const [changed] = await retryTransaction(() =>
      this.#database.query<StoredTogether>(sql, [
        JSON.stringify(rows),
        ...messagesOf(byUuid, ofAll),
        ...[owner, leaseMs, plainArray([...byUuid.keys()])],
      ]),
    )
    const remember = ({ record, next: instance, outcome }: Step, version: string) => {
      if (outcome === 'spawning') this.#remember({ ...record, instance, version })
    }
    this.#settle(byUuid, changed, remember, ofAll)
  }

  #remember(record: InstanceRecord): void {
    this.#known.set(record.instance.uuid, record)
    const [oldest] = this.#known.size > MAX_KNOWN ? this.#known.keys() : []
    if (oldest !== undefined) this.#known.delete(oldest)
  }

  /** Whatever it did not do of those that were asked for is for their callers. */
  #settle<Item extends Step | Beginning>(
    asked: ReadonlyMap<string, Asked<Item>>,
    together: StoredTogether | undefined,
    remember: (item: Item, version: string) => void,
    ofAll: readonly DurableMessage[] = [],
  ): void {
    const { uuids, versions, stored } = together ?? { uuids: null, versions: null, stored: null }
    let next = 0
    for (const [n, uuid] of (uuids ?? []).entries()) {
      const one = asked.get(uuid)
      if (one === undefined) throw new Error(`nobody has asked for ${uuid}`)
      one.isMade = true
      remember(one.item, versions?.[n] as string)
      this.#offer(one.messages, (stored ?? []).slice(next, next + one.messages.length))
      next += one.messages.length
    }
    this.#offer(ofAll, (stored ?? []).slice(next))
  }

  #offer(messages: readonly DurableMessage[], stored: readonly StoredAs[]): void {
    const taken = takenAtOnce(messages, stored)
    this.#outbox.offer(taken)
    if (taken.length < messages.length) this.#outbox.announce()
  }
}

/** In the order of their uuids, so that two of such statements do not wait for each other. A second of one uuid is left out. */
function firstOf<Item>(asked: readonly Asked<Item>[], uuidOf: (item: Item) => string): Map<string, Asked<Item>> {
  const byUuid = new Map<string, Asked<Item>>()
  for (const one of asked) {
    const uuid = uuidOf(one.item)
    if (!byUuid.has(uuid)) byUuid.set(uuid, one)
  }
  return new Map([...byUuid].toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** One that is broken must not spoil the others: who was in a group that failed is told no, and does it alone. */
async function made<Item extends Step | Beginning>(
  make: (asked: Asked<Item>) => Promise<void>,
  { uuid }: Instance,
  item: Item,
): Promise<boolean> {
  // Its messages would be stored though its step was not made.
  if (uuid === ABOUT_ALL) return false
  const asked = { item, messages: item.messages, isMade: false }
  await make(asked).catch(() => {})
  return asked.isMade
}

function addTo(asked: readonly Asked<Step>[], each: readonly (readonly DurableMessage[])[]): void {
  for (const [n, one] of asked.entries()) one.messages = [...one.messages, ...(each[n] ?? [])]
}

/** Each about its instance. */
function messagesOf(
  asked: ReadonlyMap<string, Asked<Step | Beginning>>,
  ofAll: readonly DurableMessage[] = [],
): ReturnType<typeof toStore> {
  const about = [...asked].flatMap(([uuid, { messages }]) => messages.map(() => uuid))
  const messages = [...asked.values()].flatMap((one) => one.messages)
  return toStore([...messages, ...ofAll], [...about, ...ofAll.map(() => ABOUT_ALL)])
}

function rowOf({ record, next, outcome, selection, endedAt }: Step): object {
  const { uuid, vm_state, task_state, host, mem_encryption, launched_at, updated_at, attempt } = next
  return {
    ...{ uuid, version: record.version, vm_state, task_state, host, mem_encryption, launched_at, updated_at },
    ...{ attempt, outcome, ended_at: endedAt?.toISOString() ?? null },
    ...{ try_host: selection?.host, allocations: selection?.allocations, report: selection?.report },
  }
}

/**
 * PostgreSQL's xmin is another one after each change of a row, whoever makes it. The uuids are said once more, for of an array the
 * planner knows how long it is: of JSON it expects a hundred rows.
 */
const MAKE = kept('SELECT uuids, versions, stored FROM make_steps($1, $2, $3, $4, $5, $6)')
/** Fails with NOT_ALL_STEPS where one of them is not made. */
const MAKE_ALL = kept('SELECT uuids, versions, stored FROM make_all_steps($1, $2, $3, $4, $5, $6)')
