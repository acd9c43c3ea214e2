import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { expect, inject, it } from 'vitest'
import { probeBroker } from '../../src/servers/amqp-probe.ts'
import './provided-context.ts'

it('gives the tests a RabbitMQ that answers', async () => {
  const broker = await probeBroker(inject('amqpUrl'))

  expect(broker?.description).toMatch(/^RabbitMQ \d+\.\d+/)
})

it('gives the tests a PostgreSQL whose user may create databases', async () => {
  const client = new Client({ connectionString: inject('databaseUrl') })
  await client.connect()

  const { rows } = await client.query(
    'SELECT rolcreatedb OR rolsuper AS may FROM pg_roles WHERE rolname = current_user',
  )
  await client.end()

  expect(rows).toEqual([{ may: true }])
})

it('keeps what tests put into the temporary folder where it goes with the run', () => {
  expect(tmpdir()).toBe(join(inject('runFolder'), 'tmp'))
})
