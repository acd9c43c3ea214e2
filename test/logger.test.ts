import { closeSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { createLogger } from '../src/logger.ts'
import { RabbitTransport } from '../src/rpc/drivers/rabbit.ts'
import { silent } from './support/transports.ts'

const path = join(mkdtempSync(join(tmpdir(), 'sevbus-log-')), 'log')

function logged(facts: object): string {
  const file = openSync(path, 'w')
  createLogger('test', 'info', file).info(facts, 'a fact')
  closeSync(file)
  return readFileSync(path, 'utf8')
}

describe('logs', () => {
  it.each([
    ...['password', 'secret', 'token', 'auth_token', 'session', 'dhCert', 'launchSecret', 'url', 'amqpUrl'],
    ...['databaseUrl', 'connectionString', 'user_password', '_context_auth_token'],
  ])('never have the value of %s, wherever it stands', (key) => {
    const facts = {
      [key]: 'TOPSECRET',
      context: { [key]: 'TOPSECRET' },
      config: { transport: { [key]: 'TOPSECRET' } },
    }

    const line = logged(facts)

    expect(line).not.toContain('SECRET')
    expect(JSON.parse(line)).toMatchObject({ [key]: '[secret]', context: { [key]: '[secret]' } })
  })

  it('have no credentials of a URL, in a message, a stack or a cause', () => {
    const cause = new Error('cannot reach postgresql://user:TOPSECRET@db/x')
    const err = new Error('amqp://guest:TOP/SECRET@broker/ refused', { cause })

    const line = logged({ err, note: 'see amqp://u:TOPSECRET@h/v' })

    expect(line).not.toContain('SECRET')
    expect(line).toContain('amqp://[secret]@broker/ refused')
  })

  it('have everything else, one JSON line for each fact', () => {
    expect(JSON.parse(logged({ instance_uuid: 'u', host: 'node1' }))).toMatchObject({
      name: 'test',
      level: 30,
      instance_uuid: 'u',
      host: 'node1',
      msg: 'a fact',
    })
  })

  it('name a broker without its password', () => {
    const transport = new RabbitTransport({ url: 'amqp://user:TOPSECRET@broker.example:5673/cloud', logger: silent })

    expect(transport.description).toBe('RabbitMQ at amqp://broker.example:5673/cloud')
  })
})
