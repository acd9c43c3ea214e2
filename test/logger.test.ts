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
  it.each(['password', 'secret', 'token', 'auth_token', 'session', 'dhCert', 'launchSecret', 'url', 'amqpUrl'])(
    'never have the value of %s, wherever it stands',
    (key) => {
      const facts = {
        [key]: 'TOPSECRET',
        context: { [key]: 'TOPSECRET' },
        config: { transport: { [key]: 'TOPSECRET' } },
      }

      expect(logged(facts)).not.toContain('TOPSECRET')
    },
  )

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
