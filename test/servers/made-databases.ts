import { openPostgres } from '../../src/database/postgres.ts'

/** A way in for what is no part of a database: to make and drop them. */
export async function administer(url: string) {
  const server = await openPostgres({ url, poolSize: 1 })
  return { query: server.query.bind(server), [Symbol.asyncDispose]: () => server.close() }
}

/** Databases that the tests of a run have made on a server that stays. */
export async function dropDatabases(url: string, prefix: string): Promise<void> {
  await using server = await administer(url)
  const made = await server.query<{ name: string }>(
    'select datname as name from pg_database where starts_with(datname, $1)',
    [prefix],
  )
  for (const { name } of made) await server.query(`drop database ${name} with (force)`)
}
