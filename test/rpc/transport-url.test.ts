import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidConfiguration } from '../../src/errors.ts'
import { describeAddress, parseTransportUrl } from '../../src/rpc/drivers/transport-url.ts'

const guest = { username: 'guest', password: 'guest' }
const local = { hostname: 'localhost', port: 5672, ...guest }

describe('the URL of the broker', () => {
  it.each([
    ['amqp://', { hosts: [local], vhost: '/', tls: false }],
    ['amqp://localhost/', { hosts: [local], vhost: '/' }],
    ['amqp://localhost/%2F', { hosts: [local], vhost: '/' }],
    ['amqp://localhost//', { hosts: [local], vhost: '/' }],
    ['amqp://localhost/sevbus', { hosts: [local], vhost: 'sevbus' }],
    ['amqp://localhost/a%2Fb', { hosts: [local], vhost: 'a/b' }],
    ['amqps://broker', { hosts: [{ ...local, hostname: 'broker', port: 5671 }], tls: true }],
    ['rabbit://broker?ssl=1', { hosts: [{ ...local, hostname: 'broker' }], tls: true }],
    ['amqp://[::1]:5673', { hosts: [{ ...local, hostname: '::1', port: 5673 }] }],
    ['amqp://u:p%40%2F%3A@h', { hosts: [{ hostname: 'h', port: 5672, username: 'u', password: 'p@/:' }] }],
    ['amqp://u@h', { hosts: [{ hostname: 'h', port: 5672, username: 'u', password: '' }] }],
    ['amqp://h?heartbeat=0', { heartbeatSeconds: 0 }],
    [
      'rabbit://u1:p1@h1:5673,h2/nova?heartbeat_timeout_threshold=10',
      {
        hosts: [
          { hostname: 'h1', port: 5673, username: 'u1', password: 'p1' },
          { ...local, hostname: 'h2' },
        ],
        vhost: 'nova',
        heartbeatSeconds: 10,
      },
    ],
  ])('reads %s', (url, address) => {
    expect(parseTransportUrl(url)).toMatchObject(address)
  })

  it.each([
    ['localhost', 'not of the form'],
    ['http://u:s3cr3t@h', 'must begin with'],
    ['amqp://u:s3cr3t/@h', 'an @ behind the host'],
    ['amqp://u:s3cr3t#@h', 'not of the form'],
    ['amqp://u:s3cr3t?@h', 'an @ behind the host'],
    ['amqp://u:%s3cr3t@h', 'the password of host 1'],
    ['amqp://u:s3cr3t@h:99999', 'the port of host 1'],
    ['rabbit://u:s3cr3t@h1,u:s3cr3t@h2:x', 'host 2 or its port'],
    ['amqp://h?s3cr3t=1', 'an option that is not known'],
    ['amqp://h?heartbeat=s3cr3t', 'its heartbeat'],
  ])('says what is wrong with %s, and quotes nothing of it', (url, problem) => {
    expect(() => parseTransportUrl(url)).toThrow(problem)
    expect(() => parseTransportUrl(url)).not.toThrow('s3cr3t')
  })

  it('is an address or InvalidConfiguration for any text', () => {
    const pieces = fc.array(
      fc.constantFrom('amqp://', 'rabbit://', 'u', ':', '@', '/', ',', '[', ']', '%', '?', 'ssl=1', '1'),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          pieces.map((all) => all.join('')),
        ),
        (url) => {
          try {
            parseTransportUrl(url)
          } catch (error) {
            expect(error).toBeInstanceOf(InvalidConfiguration)
          }
        },
      ),
    )
  })

  it('is described without anything secret', () => {
    const address = parseTransportUrl('rabbit://user:s3cr3t@h1:5672,user:s3cr3t@[::1]:5673/nova%2Fcell1')

    expect(describeAddress(address)).toBe('amqp://h1:5672,[::1]:5673/nova%2Fcell1')
  })
})
