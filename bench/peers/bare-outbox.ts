import { connect } from 'amqplib'
import pg from 'pg'
import { gathered } from '../../dist/rpc/gathered.js'
import { bootEvent } from '../payload.ts'
import { AMQP_URL, IS_QUORUM, QUEUE, runPeer } from '../peer.ts'

/** The least that stores a message before it is sent and forgets it after the confirm: a row in, a row out, in groups, by hand. */
const model = await (await connect(AMQP_URL, { noDelay: true })).createConfirmChannel()

async function consume(): Promise<void> {
  await model.assertExchange(`${QUEUE}.x`, 'topic', { durable: true })
  await model.assertQueue(QUEUE, { durable: true, arguments: IS_QUORUM ? { 'x-queue-type': 'quorum' } : {} })
  await model.bindQueue(QUEUE, `${QUEUE}.x`, 'boot')
  await model.prefetch(512)
  await model.consume(QUEUE, (message) => {
    if (message === null) return
    JSON.parse(message.content.toString())
    model.ack(message)
  })
}

async function publish() {
  const pool = new pg.Pool({ connectionString: process.env.BENCH_DATABASE_URL, max: 8 })
  await pool.query('create table if not exists bare_outbox (id bigint primary key, body text not null)')
  const insert = gathered<[number, string]>(async (rows) => {
    const columns = [rows.map(([id]) => id), rows.map(([, body]) => body)]
    await pool.query('insert into bare_outbox select * from unnest($1::bigint[], $2::text[])', columns)
  })
  const forget = gathered<number>(async (ids) => {
    await pool.query('delete from bare_outbox where id = any($1::bigint[])', [ids])
  })
  let made = 0
  return async () => {
    const id = made++
    const body = JSON.stringify(bootEvent(id))
    await insert([id, body])
    await new Promise<void>((resolve, reject) => {
      const options = { persistent: true, contentType: 'application/json' }
      model.publish(`${QUEUE}.x`, 'boot', Buffer.from(body), options, (error) => (error ? reject(error) : resolve()))
    })
    await forget(id)
  }
}

await runPeer({ server: consume, client: publish })
