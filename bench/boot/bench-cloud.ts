import { allMigrations } from '../../src/compose/migrations.ts'
import { migrate } from '../../src/database/migrate.ts'
import { openPostgres } from '../../src/database/postgres.ts'
import { type InstalledRabbitMq, startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import { ServerHome } from '../../src/servers/server-home.ts'
import { startInstalledPostgres } from '../../test/servers/installed-postgres.ts'
import { RunningCloud } from '../../test/support/running-cloud.ts'

export interface BenchCloud extends AsyncDisposable {
  readonly cloud: RunningCloud
  readonly broker: InstalledRabbitMq
  readonly databaseUrl: string
}

/** A cloud of worker processes on a RabbitMQ and a durable PostgreSQL of its own. */
export async function openBenchCloud(): Promise<BenchCloud> {
  const broker = await startInstalledRabbitMq()
  const postgres = await startInstalledPostgres({ durable: true })
  if (broker === undefined || postgres === undefined) throw new Error('install rabbitmq-server and postgresql first')
  const database = await openPostgres({ url: postgres.url, poolSize: 2 })
  await migrate(database, allMigrations)
  const home = await ServerHome.create('bench')
  const cloud = new RunningCloud({
    amqpUrl: broker.url,
    databaseUrl: postgres.url,
    database,
    folder: home.folder,
    dispose: () => database.close(),
  })
  return {
    cloud,
    broker,
    databaseUrl: postgres.url,
    async [Symbol.asyncDispose]() {
      await cloud[Symbol.asyncDispose]()
      await home.close()
      await postgres.close()
      await broker.close()
    },
  }
}

export function median(numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const [upper = Number.NaN, lower = Number.NaN] = [sorted[middle], sorted[middle - 1]]
  return sorted.length % 2 === 1 ? upper : (upper + lower) / 2
}
