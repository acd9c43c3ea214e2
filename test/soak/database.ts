import { randomUUID } from 'node:crypto'
import { openPostgres } from '../../src/database/postgres.ts'

export interface SoakDatabase extends AsyncDisposable {
  readonly url: string
}

/** An empty database of the soak's own on a server. */
export async function createSoakDatabase(serverUrl: string): Promise<SoakDatabase> {
  const name = `sevbus_soak_${randomUUID().replaceAll('-', '')}`
  await administer(serverUrl, `create database ${name}`)
  const url = new URL(serverUrl)
  url.pathname = `/${name}`
  return { url: url.href, [Symbol.asyncDispose]: () => administer(serverUrl, `drop database ${name} with (force)`) }
}

async function administer(url: string, sql: string): Promise<void> {
  const server = await openPostgres({ url, poolSize: 1 })
  try {
    await server.query(sql)
  } finally {
    await server.close()
  }
}
