import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import { textArray } from '../../dist/database/array-literal.js'
import { openPglite } from '../../dist/database/pglite.js'
import { openPostgres } from '../../dist/database/postgres.js'

/** What a durable row for each event that is billed by costs anybody: read, parse, store what is needed, 2000 lines at a time. */
const [file = '', store = ''] = process.argv.slice(2)
const BILLED = /\.(?:create|power_off|delete)\.end$|\.exists$/
const database = await (store.startsWith('postgres') ? openPostgres({ url: store }) : openPglite({ folder: store }))
await database.query(`create table bare_facts (
  instance_uuid text collate "C", message_id text collate "C", fact text, primary key (instance_uuid, message_id))`)

let batch: [string, string, string][] = []
let lines = 0
const write = async () => {
  const columns = [0, 1, 2].map((n) => textArray(batch.map((row) => row[n] as string)))
  await database.query('insert into bare_facts select * from unnest($1::text[], $2::text[], $3::text[])', columns)
  batch = []
}
for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Number.POSITIVE_INFINITY })) {
  const { message_id, event_type, timestamp, payload } = JSON.parse(line)
  const { uuid, tenant_id, user_id, display_name, host, state, launched_at, terminated_at, flavor } =
    payload['nova_object.data']
  if (BILLED.test(event_type)) {
    const { name, vcpus, memory_mb } = flavor['nova_object.data']
    const model = payload.sevbus.mem_encryption.model
    const whose = { tenant_id, user_id, display_name, host, state, flavor: { name, vcpus, memory_mb }, model }
    const fact = { event_type, timestamp, ...whose, launched_at, terminated_at }
    batch.push([uuid, message_id, JSON.stringify(fact)])
  }
  if (++lines % 2000 === 0) await write()
}
await write()
await database.close()
