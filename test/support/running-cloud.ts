import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { connect as connectAmqp } from 'amqplib'
import { connect, newRequestContext, type SevbusClient } from '../../src/client.ts'
import type { Database } from '../../src/database/database.ts'
import { SevbusProcess } from './sevbus-process.ts'
import { waitFor } from './wait-for.ts'

interface CloudOptions {
  readonly amqpUrl: string
  readonly databaseUrl: string
  /** The same, with the tables in it. */
  readonly database: Database
  /** For what the workers keep; removed in the end. */
  readonly folder: string
  readonly dispose?: () => Promise<void>
}

/** A cloud of real processes on the real broker and database, with names and tables of its own. */
export class RunningCloud implements AsyncDisposable {
  readonly database: Database
  readonly env: Readonly<Record<string, string>>
  readonly folder: string
  readonly #amqpUrl: string
  readonly #prefix: string
  readonly #dispose: () => Promise<void>
  readonly #processes: SevbusProcess[] = []
  #client: SevbusClient | undefined

  constructor({ amqpUrl, databaseUrl, database, folder, dispose = async () => {} }: CloudOptions) {
    this.database = database
    this.folder = folder
    this.#amqpUrl = amqpUrl
    this.#dispose = dispose
    this.#prefix = `t${randomBytes(6).toString('hex')}`
    this.env = {
      SEVBUS_TRANSPORT_URL: amqpUrl,
      SEVBUS_TRANSPORT_EXCHANGE: this.#prefix,
      SEVBUS_TRANSPORT_TOPIC_PREFIX: `${this.#prefix}-`,
      SEVBUS_NOTIFICATIONS_EXCHANGE: `${this.#prefix}-nova`,
      SEVBUS_NOTIFICATIONS_TOPIC: `${this.#prefix}-notifications`,
      SEVBUS_DATABASE_URL: databaseUrl,
      SEVBUS_BILL_POOL: `${this.#prefix}-bill`,
      SEVBUS_COMPUTE_REPORT_INTERVAL_SECONDS: '1',
    }
  }

  start(args: readonly string[], env: Record<string, string> = {}): SevbusProcess {
    const process = new SevbusProcess(args, { ...this.env, ...env })
    this.#processes.push(process)
    return process
  }

  async worker(
    service: 'conductor' | 'scheduler',
    host: string,
    env: Record<string, string> = {},
  ): Promise<SevbusProcess> {
    const worker = this.start([service, '--host', host], env)
    await worker.said(`${service} is ready`)
    return worker
  }

  /** A simulated host; started again under the same name it goes on with its guests. */
  async compute(host: string, fake: Record<string, string> = {}): Promise<SevbusProcess> {
    const worker = this.start(['compute', '--host', host], {
      SEVBUS_COMPUTE_STATE_FOLDER: join(this.folder, host),
      ...fake,
    })
    await worker.said('compute worker is ready')
    return worker
  }

  /** `sevbus bill run`, with a ledger of its own. */
  async biller(env: Record<string, string>): Promise<SevbusProcess> {
    const biller = this.start(['bill', 'run'], env)
    await biller.said('Ctrl-C ends it')
    return biller
  }

  /** A client, once the scheduler knows so many hosts. */
  async client({ hosts }: { readonly hosts: number }): Promise<SevbusClient> {
    const exchange = this.#prefix
    this.#client ??= await connect({ url: this.#amqpUrl, exchange, topicPrefix: `${exchange}-` })
    const { scheduler } = this.#client
    const check = async () => {
      const { hosts: known } = await scheduler.listHosts(newRequestContext(), {})
      if (known.length < hosts) throw new Error(`${known.length} of ${hosts} hosts have reported`)
    }
    await waitFor(check, { timeoutMs: 20_000, intervalMs: 100 })
    return this.#client
  }

  /** One number out of the database. */
  async count(sql: string): Promise<number> {
    const [row] = await this.database.query<{ count: number }>(`select count(*)::int as count from ${sql}`)
    return row?.count ?? Number.NaN
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const process of this.#processes) process.kill('SIGTERM')
    const ends = await Promise.allSettled(this.#processes.map((process) => process.exited()))
    for (const process of this.#processes) process.kill('SIGKILL')
    await this.#client?.close()
    await this.#removeQueues()
    await this.#dispose()
    await rm(this.folder, { recursive: true, force: true })
    for (const end of ends) if (end.status === 'rejected') throw end.reason
  }

  /** The broker may be somebody's: what was declared under our prefix goes, as far as its names are known. */
  async #removeQueues(): Promise<void> {
    const hosts = [...new Set(this.#processes.flatMap((process) => /"host":"([^"]+)"/.exec(process.output)?.[1] ?? []))]
    const topics = ['conductor', 'scheduler', 'compute'].map((service) => `${this.#prefix}-${service}`)
    const directed = topics.flatMap((topic) => hosts.map((host) => `${topic}.${host}`))
    const byName = [`${this.#prefix}-conductor._build-reports`, `${this.#prefix}-scheduler._signs-of-life`]
    const priorities = ['info', 'error'].map((priority) => `${this.#prefix}-notifications.${priority}`)
    const connection = await connectAmqp(this.#amqpUrl)
    const channel = await connection.createChannel()
    for (const queue of [
      ...topics,
      ...directed,
      ...byName,
      ...priorities,
      `${this.#prefix}-dead-letters`,
      `${this.#prefix}-bill`,
    ])
      await channel.deleteQueue(queue)
    for (const exchange of [this.#prefix, `${this.#prefix}-nova`]) await channel.deleteExchange(exchange)
    await connection.close()
  }
}
