import { Client } from 'pg'

/** @returns what the server calls itself (`PostgreSQL 17.7`), undefined while nobody answers or lets us in */
export async function describePostgres(url: string): Promise<string | undefined> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 3_000 })
  client.on('error', () => undefined) // the server may go away between two questions
  try {
    await client.connect()
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version')
    return `PostgreSQL ${rows[0]?.server_version}`
  } catch {
    return undefined
  } finally {
    await client.end().catch(() => undefined)
  }
}
