import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectAmqp } from 'amqplib'
import { inject, vi } from 'vitest'
import { connect, newRequestContext, type SevbusClient } from '../../src/client.ts'
import { allMigrations } from '../../src/compose/migrations.ts'
import type { Database } from '../../src/database/database.ts'
import { startWatchdog } from '../../src/servers/watchdog.ts'
import { databaseEngines } from './databases.ts'

/** Longer than any command may take to end on a busy machine, in milliseconds. */
const EXIT_MS = 60_000

/** One `sevbus …` in an operating-system process of its own, as an operator starts it. */
export class SevbusProcess {
  readonly #child: ChildProcess
  #output = ''
  readonly #exited: Promise<number | string>

  constructor(args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, ['bin/sevbus.js', ...args], {
      env: { PATH: process.env.PATH, ...env },
      // A group of its own, which a watchdog ends when the test run is killed.
      detached: true,
    })
    const watchdog = startWatchdog()
    if (this.#child.pid !== undefined) watchdog.watchGroup(this.#child.pid, 'SIGKILL')
    this.#child.on('close', () => void watchdog.dismiss())
    const collect = (chunk: Buffer) => {
      this.#output += chunk.toString()
    }
    this.#child.stdout?.on('data', collect)
    this.#child.stderr?.on('data', collect)
    this.#exited = new Promise((resolve) => {
      this.#child.on('close', (code, signal) => resolve(code ?? signal ?? 'unknown'))
    })
  }

  get output(): string {
    return this.#output
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Waits for its exit code, or the name of the signal that ended it; one that does not end fails with its output. */
  async exited(): Promise<number | string> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`does not end:\n${this.#output}`)), EXIT_MS)
    })
    return Promise.race([this.#exited, late]).finally(() => clearTimeout(timer))
  }

  /** Waits until it has printed this. */
  async said(text: string): Promise<void> {
    await vi.waitFor(() => {
      if (!this.#output.includes(text)) throw new Error(`not said: ${text}\n${this.#output}`)
    }, 20_000)
  }
}

/** A cloud of real processes on the real broker and database, with names and tables of its own. */
export class ProcessCloud implements AsyncDisposable {
  readonly database: Database
  readonly env: Readonly<Record<string, string>>
  readonly folder: string
  readonly #prefix: string
  readonly #dispose: () => Promise<void>
  readonly #processes: SevbusProcess[] = []
  #client: SevbusClient | undefined

  private constructor(database: Database, databaseUrl: string, folder: string, dispose: () => Promise<void>) {
    this.database = database
    this.folder = folder
    this.#dispose = dispose
    this.#prefix = `t${randomBytes(6).toString('hex')}`
    this.env = {
      SEVBUS_TRANSPORT_URL: inject('amqpUrl'),
      SEVBUS_TRANSPORT_EXCHANGE: this.#prefix,
      SEVBUS_TRANSPORT_TOPIC_PREFIX: `${this.#prefix}-`,
      SEVBUS_NOTIFICATIONS_EXCHANGE: `${this.#prefix}-nova`,
      SEVBUS_NOTIFICATIONS_TOPIC: `${this.#prefix}-notifications`,
      SEVBUS_DATABASE_URL: databaseUrl,
      SEVBUS_COMPUTE_REPORT_INTERVAL_SECONDS: '1',
    }
  }

  static async open(): Promise<ProcessCloud> {
    const engine = databaseEngines.find(({ name }) => name === 'PostgreSQL')
    if (engine === undefined) throw new Error('PostgreSQL is not among the engines')
    const opened = await engine.open(allMigrations)
    const [row] = await opened.database.query<{ name: string }>('select current_database() as name')
    const url = new URL(inject('databaseUrl'))
    url.pathname = `/${row?.name}`
    const folder = await mkdtemp(join(tmpdir(), 'sevbus-test-'))
    return new ProcessCloud(opened.database, url.href, folder, async () => opened[Symbol.asyncDispose]())
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

  /** A client, once the scheduler knows so many hosts. */
  async client({ hosts }: { readonly hosts: number }): Promise<SevbusClient> {
    const exchange = this.#prefix
    this.#client ??= await connect({ url: inject('amqpUrl'), exchange, topicPrefix: `${exchange}-` })
    const { scheduler } = this.#client
    await vi.waitFor(
      async () => {
        const { hosts: known } = await scheduler.listHosts(newRequestContext(), {})
        if (known.length < hosts) throw new Error(`${known.length} of ${hosts} hosts have reported`)
      },
      { timeout: 20_000, interval: 100 },
    )
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
    const priorities = ['info', 'error'].map((priority) => `${this.#prefix}-notifications.${priority}`)
    const connection = await connectAmqp(inject('amqpUrl'))
    const channel = await connection.createChannel()
    for (const queue of [...topics, ...directed, ...priorities, `${this.#prefix}-dead-letters`])
      await channel.deleteQueue(queue)
    for (const exchange of [this.#prefix, `${this.#prefix}-nova`]) await channel.deleteExchange(exchange)
    await connection.close()
  }
}
