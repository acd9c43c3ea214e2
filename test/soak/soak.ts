import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'amqplib'
import type { Database } from '../../src/database/database.ts'
import { migrate } from '../../src/database/migrate.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import { deadLetterQueue, topicOf } from '../../src/rpc/names.ts'
import type { Evidence } from './auditor.ts'
import type { SoakBroker } from './broker.ts'
import { OrderApi } from './contract.ts'
import { CrewMember, type CrewOptions } from './crew.ts'
import { Faults } from './faults.ts'
import type { Role } from './life.ts'
import { schedule } from './schedule.ts'
import { readEffects, readFacts, soakMigrations, unsent } from './tables.ts'
import { Traffic } from './traffic.ts'

const POLL_MS = 100
/** Longer than the longest deadline of a call. */
const STOP_GRACE_MS = 20_000
/** Longer than the lease of a message whose sender was killed, and the longest pauses of relays and reconnects. */
const SETTLE_MS = 45_000
const END_GRACE_MS = 15_000

export interface SoakOptions {
  readonly broker: SoakBroker
  /** An empty database. */
  readonly databaseUrl: string
  /** For ledgers and logs. */
  readonly folder: string
  readonly seed: number
  /** At least; it goes on until the last fault is over. */
  readonly messages: number
  readonly messagesPerSecond: number
  /** Of one sender: in an outage, and on a machine that does not keep up, no more wait. */
  readonly maxInFlight: number
  readonly senders: number
  readonly servers: number
  readonly listeners: number
  /** How long it goes on after the last fault, in milliseconds, to see that everybody has come back. */
  readonly quietMs: number
  /** The faults are spread over so great a part of the messages, counting those that go well. */
  readonly disturbedPart: number
  /** Beside one of each kind. */
  readonly moreFaults: number
  readonly tell: (line: string) => void
}

export interface SoakResult {
  readonly evidence: Evidence
  readonly messages: number
  readonly faults: number
  readonly trafficMs: number
}

/** Sends, lets everything happen that is on the schedule, waits until all is quiet, and gathers what the auditor needs. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const database = await openPostgres({ url: options.databaseUrl, poolSize: 4 })
  await migrate(database, soakMigrations)
  const crew: CrewMember[] = []
  try {
    return await run(options, database, crew)
  } finally {
    await Promise.all(crew.map((member) => member.dismiss()))
    await database.close()
  }
}

async function run(options: SoakOptions, database: Database, crew: CrewMember[]): Promise<SoakResult> {
  const { broker, tell } = options
  const prefix = `s${randomBytes(6).toString('hex')}`
  const names = { exchange: prefix, topicPrefix: `${prefix}-` }
  const notifications = { exchange: `${prefix}-events`, topic: `${prefix}-events` }
  const [senders, servers, listeners] = (['sender', 'server', 'listener'] as const).map((role) =>
    namesOf(role, options),
  )
  const members = { senders: senders ?? [], servers: servers ?? [], listeners: listeners ?? [] }
  const common: CrewOptions['common'] = {
    databaseUrl: options.databaseUrl,
    names,
    notifications,
    messagesPerSecond: options.messagesPerSecond / options.senders,
    maxInFlight: options.maxInFlight,
    servers: members.servers,
  }
  const crewOptions = { brokerUrl: () => broker.url, folder: options.folder, seed: options.seed, common }
  const hire = async (role: Role, wanted: readonly string[]) => {
    const hired = await Promise.all(wanted.map((name) => CrewMember.hire(name, role, crewOptions)))
    crew.push(...hired)
    await Promise.all(hired.map((member) => member.begin()))
  }
  await Promise.all([hire('server', members.servers), hire('listener', members.listeners)])
  const begun = performance.now()
  await hire('sender', members.senders)

  const planned = schedule(options.seed, members, options.moreFaults)
  const traffic = new Traffic(crew, tell)
  await traffic.flow(planned, new Faults(broker, crew, names), options.messages * options.disturbedPart)
  const quietSince = Date.now()
  await traffic.until(() => traffic.messages >= options.messages && Date.now() >= quietSince + options.quietMs)
  const working = crew.filter(({ role }) => role === 'sender')
  tell(`${traffic.messages} messages: no more`)
  await Promise.all(working.map((member) => member.stop(STOP_GRACE_MS)))
  const trafficMs = performance.now() - begun

  await settle(
    database,
    crew.filter(({ role }) => role === 'listener'),
  )
  const { messages, troubles } = traffic
  await Promise.all(working.map((member) => member.end(END_GRACE_MS)))
  await Promise.all(crew.map((member) => member.end(END_GRACE_MS)))
  const queues = [topicOf(names, OrderApi), `${notifications.topic}.info`, deadLetterQueue(names)]
  const evidence = {
    books: crew.flatMap((member) => member.books()),
    facts: await readFacts(database),
    effects: await readEffects(database),
    left: { outbox: await unsent(database), ...(await depths(broker.url, queues)) },
    quietSince,
    troubles,
  }
  return { evidence, messages, faults: planned.length, trafficMs }
}

function namesOf(role: Role, options: SoakOptions): readonly string[] {
  return Array.from({ length: options[`${role}s`] }, (_, index) => `${role}-${index + 1}`)
}

/** Until everything stored has been sent and done, or for so long that what is missing will not come. */
async function settle(database: Database, listeners: readonly CrewMember[]): Promise<void> {
  const until = performance.now() + SETTLE_MS
  const isQuiet = async () => {
    if ((await unsent(database)) > 0) return false
    const facts = await readFacts(database)
    const done = new Set(await readEffects(database))
    for (const { entries } of listeners.flatMap((member) => member.books())) {
      for (const entry of entries) if (entry.type === 'notified') done.add(entry.id)
    }
    return facts.every(({ id }) => done.has(id))
  }
  while (!(await isQuiet()) && performance.now() < until) await sleep(POLL_MS * 5)
}

async function depths(url: string, queues: readonly string[]): Promise<Record<string, number>> {
  const connection = await connect(url)
  try {
    const found: Record<string, number> = {}
    for (const queue of queues) {
      const channel = await connection.createChannel()
      found[queue] = (await channel.checkQueue(queue)).messageCount
      await channel.close()
    }
    return found
  } finally {
    await connection.close()
  }
}
