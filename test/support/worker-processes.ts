import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inject } from 'vitest'
import { allMigrations } from '../../src/compose/migrations.ts'
import { databaseEngines } from './databases.ts'
import { RunningCloud } from './running-cloud.ts'

/** A cloud on the broker and the PostgreSQL of the test run. */
export class ProcessCloud extends RunningCloud {
  /** @param amqpUrl of another broker */
  static async open(amqpUrl = inject('amqpUrl')): Promise<ProcessCloud> {
    const engine = databaseEngines.find(({ name }) => name === 'PostgreSQL')
    if (engine === undefined) throw new Error('PostgreSQL is not among the engines')
    const opened = await engine.open(allMigrations)
    const [row] = await opened.database.query<{ name: string }>('select current_database() as name')
    const url = new URL(inject('databaseUrl'))
    url.pathname = `/${row?.name}`
    return new ProcessCloud({
      amqpUrl,
      databaseUrl: url.href,
      database: opened.database,
      folder: await mkdtemp(join(tmpdir(), 'sevbus-test-')),
      dispose: async () => opened[Symbol.asyncDispose](),
    })
  }
}
