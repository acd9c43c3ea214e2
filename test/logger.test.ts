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

  it('have no secret six levels down, and still are JSON there', () => {
    const secrets = { Auth_Token: 'TOPSECRET', tokens: ['TOPSECRET'], session: { key: 'TOPSECRET' }, retries: 3 }
    const line = logged({ a: { b: { c: { d: { e: { f: { ...secrets, said: 'at amqp://u:TOPSECRET@h' } } } } } } })

    expect(line).not.toContain('SECRET')
    expect(JSON.parse(line).a.b.c.d.e.f).toEqual({
      Auth_Token: '[secret]',
      tokens: '[secret]',
      session: '[secret]',
      retries: 3,
      said: 'at amqp://[secret]@h',
    })
  })

  it.each([
    ['rabbit://u:TOPSECRET@h1:5672,v:TOPSECRET@h2:5672/cloud', 'rabbit://[secret]@h2:5672/cloud'],
    ['amqp://u:TOP@SECRET@h/', 'amqp://[secret]@h/'],
    ['amqp://u:TOP"SECRET@h/', 'amqp://[secret]@h/'],
    ['amqp://:TOPSECRET@h/', 'amqp://[secret]@h/'],
    ['https://broker.example:15672/api', 'https://broker.example:15672/api'],
    ['at file:///app/node_modules/@scope/a.js:1:2', 'at file:///app/node_modules/@scope/a.js:1:2'],
  ])('have of %s only what is no secret', (said, kept) => {
    expect(JSON.parse(logged({ said })).said).toBe(kept)
  })

  it('have what an error holds, without its secrets', () => {
    const cause = new Error('no answer from amqp://u:TOPSECRET@h/')
    const err = Object.assign(new Error('x', { cause }), {
      input: 'a://u:TOPSECRET@h',
      details: { dsnUrl: 'TOPSECRET' },
    })

    const line = logged({ err })

    expect(line).not.toContain('SECRET')
    expect(JSON.parse(line).err).toMatchObject({
      message: 'x: no answer from amqp://[secret]@h/',
      details: { dsnUrl: '[secret]' },
    })
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
