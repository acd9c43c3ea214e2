import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidConfiguration } from '../../src/errors.ts'
import { type BrokerHost, parseTransportUrl } from '../../src/rpc/drivers/transport-url.ts'

const guest = { username: 'guest', password: 'guest', isGuest: true }
const local = { hostname: 'localhost', port: 5672, ...guest }
const u = { hostname: 'h', port: 5672, username: 'u', password: '', isGuest: false }

describe('the URL of the broker', () => {
  it.each([
    ['amqp://', { hosts: [local], vhost: '/', isAmqps: false, query: '' }],
    ['rabbit://', { hosts: [local], vhost: '/' }],
    ['amqp://localhost/', { hosts: [local], vhost: '/' }],
    ['amqp://localhost/%2F', { hosts: [local], vhost: '/' }],
    ['amqp://localhost//', { hosts: [local], vhost: '/' }],
    ['amqp://localhost//a', { hosts: [local], vhost: '/a' }],
    ['amqp://localhost/sevbus', { hosts: [local], vhost: 'sevbus' }],
    ['amqp://localhost/a%2Fb', { hosts: [local], vhost: 'a/b' }],
    ['amqp://localhost/a/b', { hosts: [local], vhost: 'a/b' }],
    ['amqps://broker', { hosts: [{ ...local, hostname: 'broker', port: 5671 }], isAmqps: true }],
    ['rabbit://broker?ssl=1', { hosts: [{ ...local, hostname: 'broker' }], isAmqps: false, query: 'ssl=1' }],
    ['amqp://[::1]:5673', { hosts: [{ ...local, hostname: '::1', port: 5673 }] }],
    [
      'rabbit://u:p@[::1]:5673,u:q@[2001:db8::2]/v',
      {
        hosts: [
          { ...u, hostname: '::1', port: 5673, password: 'p' },
          { ...u, hostname: '2001:db8::2', password: 'q' },
        ],
        vhost: 'v',
      },
    ],
    ['amqp://u:p%40%2F%3A@h', { hosts: [{ ...u, password: 'p@/:' }] }],
    ['amqp://u:5%zz%@h', { hosts: [{ ...u, password: '5%zz%' }] }],
    ['amqp://u:p@:@h', { hosts: [{ ...u, password: 'p@:' }] }],
    ['amqp://u@h', { hosts: [u] }],
    ['rabbit://u@h,,/', { hosts: [u] }],
    ['rabbit://,/', { hosts: [local] }],
    [
      'rabbit://u1:p1@h1:5673,h2/nova?heartbeat_timeout_threshold=10',
      {
        hosts: [
          { ...u, hostname: 'h1', port: 5673, username: 'u1', password: 'p1' },
          { ...local, hostname: 'h2' },
        ],
        vhost: 'nova',
        query: 'heartbeat_timeout_threshold=10',
      },
    ],
  ])('reads %s', (url, parts) => {
    expect(parseTransportUrl(url)).toMatchObject(parts)
  })

  it.each([
    ['amqp://u:p/q@h/v', { hosts: [{ ...u, password: 'p/q' }], vhost: 'v' }],
    ['amqps://u:p//q@h:5673/a/b', { hosts: [{ ...u, port: 5673, password: 'p//q' }], vhost: 'a/b' }],
    [
      'rabbit://u:p/1@h:1,u:p/2@h:2/v',
      {
        hosts: [
          { ...u, port: 1, password: 'p/1' },
          { ...u, port: 2, password: 'p/2' },
        ],
        vhost: 'v',
      },
    ],
  ])('takes the / of %s for part of a password, because no host is before it', (url, parts) => {
    expect(parseTransportUrl(url)).toMatchObject(parts)
  })

  it.each([
    ['localhost', 'not of the form'],
    ['http://u:s3cr3t@h', 'must begin with'],
    ['amqp://u:55/s3cr3t@h', 'an @ behind the first slash'],
    ['amqp://u:/s3cr3t@h', 'an @ behind the first slash'],
    ['amqp://h1/v,u:s3cr3t@h2', 'an @ behind the first slash'],
    ['amqp://h/s3cr3t@v', 'an @ behind the first slash'],
    ['amqp://u:s3cr3t#@h', 'not of the form'],
    ['amqp://u:s3cr3t?@h', 'an @ behind the question mark'],
    ['amqp://u:%FFs3cr3t@h', 'the password of host 1 has percent-encoded bytes that are not UTF-8'],
    ['amqp://u:s3cr3t%00@h', 'the password of host 1 has a NUL'],
    ['amqp://s3cr3t%00:p@h', 'the user of host 1 has a NUL'],
    ['amqp://h/s3cr3t%00', 'the vhost has a NUL'],
    ['amqp://u:s3cr3t@h:99999', 'the port of host 1'],
    ['rabbit://u:s3cr3t@h1,u:s3cr3t@h2:x', 'host 2 or its port'],
    ['rabbit://u:s3cr3t@[::1', 'host 1 or its port'],
    ['rabbit://u:s3cr3t@[1:2]', 'host 1 or its port'],
    ['rabbit://u:s3cr3t@::1', 'host 1 or its port'],
  ])('says what is wrong with %s, and quotes nothing of it', (url, problem) => {
    expect(() => parseTransportUrl(url)).toThrow(InvalidConfiguration)
    expect(() => parseTransportUrl(url)).toThrow(problem)
    expect(() => parseTransportUrl(url)).not.toThrow('s3cr3t')
  })

  it('has no longer names than AMQP', () => {
    const long = 'x'.repeat(256)

    expect(() => parseTransportUrl(`amqp://${long}:p@h`)).toThrow('the user of host 1 is longer than 255 bytes')
    expect(() => parseTransportUrl(`amqp://h/${long}`)).toThrow('the vhost is longer than 255 bytes')
  })

  const credential = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((text) => !text.includes('\0'))
  const name = fc.stringMatching(/^[a-z][a-z0-9_.-]{0,20}$/)
  const hosts = fc.array(
    fc.record({
      hostname: fc.oneof(name, fc.ipV4(), fc.ipV6().filter(isPlainIpv6)),
      port: fc.integer({ min: 1, max: 65_535 }),
      username: credential,
      password: credential,
    }),
    { minLength: 1, maxLength: 4 },
  )

  it('gives back the hosts, credentials and vhost that it was made of', () => {
    const vhost = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }).filter((text) => !text.includes('\0'))
    fc.assert(
      fc.property(fc.constantFrom('amqp', 'amqps', 'rabbit'), hosts, vhost, (scheme, given, vhost) => {
        const url = `${scheme}://${given.map(written(encodeURIComponent)).join(',')}/${encodeURIComponent(vhost)}`

        expect(parseTransportUrl(url)).toEqual({
          isAmqps: scheme === 'amqps',
          hosts: given.map((host) => ({ ...host, isGuest: false })),
          vhost,
          query: '',
        })
      }),
    )
  })

  it('reads raw slashes in passwords as they were meant, or not at all', () => {
    const withSlashes = (text: string) => encodeURIComponent(text).replaceAll('%2F', '/')
    const meant = (given: readonly Omit<BrokerHost, 'isGuest'>[]) => given.map((host) => ({ ...host, isGuest: false }))
    const slashed = fc.array(fc.constantFrom('/', 'a', '7', ':', ',', '@'), { maxLength: 6 }).map((all) => all.join(''))
    const slashedHosts = fc.array(
      fc.record({ hostname: name, port: fc.constant(5672), username: name, password: slashed }),
      { minLength: 1, maxLength: 3 },
    )
    fc.assert(
      fc.property(slashedHosts, (given) => {
        const url = `rabbit://${given.map(written(withSlashes)).join(',')}/v`
        const address = parsed(url)
        if (address) expect(address).toMatchObject({ hosts: meant(given), vhost: 'v' })
      }),
    )
  })

  it('is an address or InvalidConfiguration for any text', () => {
    const pieces = fc.array(
      fc.constantFrom('amqp://', 'rabbit://', 'u', ':', '@', '/', ',', '[', ']', '%', '%00', '?', '#', '&', '=', '1'),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ unit: 'binary' }),
          pieces.map((all) => all.join('')),
          pieces.map((all) => `rabbit://${all.join('')}`),
        ),
        (url) => {
          const address = parsed(url)
          for (const { hostname, port } of address?.hosts ?? []) {
            expect(hostname).not.toBe('')
            expect(port).toBeGreaterThan(0)
          }
        },
      ),
    )
  })
})

/** @throws anything else than InvalidConfiguration */
function parsed(url: string) {
  try {
    return parseTransportUrl(url)
  } catch (error) {
    expect(error).toBeInstanceOf(InvalidConfiguration)
    return undefined
  }
}

function written(encode: (text: string) => string) {
  return ({ hostname, port, username, password }: Omit<BrokerHost, 'isGuest'>) =>
    `${encode(username)}:${encode(password)}@${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`
}

/** With an IPv4 address at its end Node and fast-check do not always agree. */
function isPlainIpv6(address: string): boolean {
  return !address.includes('.')
}
