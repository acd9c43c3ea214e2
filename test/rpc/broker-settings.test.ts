import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { InvalidConfiguration } from '../../src/errors.ts'
import { type BrokerOptions, brokerSettings, describeBroker, userIdOn } from '../../src/rpc/drivers/broker-settings.ts'

const settings = (url: string, options: Omit<BrokerOptions, 'url'> = {}) => brokerSettings({ url, ...options })
const topology = (url: string, options: Omit<BrokerOptions, 'url'> = {}) => settings(url, options).topology.name

describe('what the URL and the configuration say of the broker', () => {
  it('is oslo.messaging with quorum queues, plain and with heartbeats, when they say nothing', () => {
    expect(settings('amqp://h')).toMatchObject({
      tls: undefined,
      loginMethod: 'PLAIN',
      heartbeatSeconds: 30,
      sendUserId: true,
      topology: { name: 'quorum', quorumArguments: {}, transientQuorumQueues: false, unusedQueueTtlSeconds: 1800 },
      withoutEffect: [],
    })
  })

  it.each([
    ['rabbit_quorum_queue=1', 'quorum'],
    ['rabbit_quorum_queue=true&amqp_durable_queues=no', 'quorum'],
    ['amqp_durable_queues=1', 'classic-durable'],
    ['rabbit_quorum_queue=0&amqp_durable_queues=on', 'classic-durable'],
    ['rabbit_quorum_queue=0', 'oslo-default'],
    ['amqp_durable_queues=FALSE', 'oslo-default'],
  ])('takes the topology from %s', (query, name) => {
    expect(topology(`rabbit://h?${query}`)).toBe(name)
  })

  it.each([
    ['quorum', 'rabbit_quorum_queue=1&amqp_durable_queues=1'],
    ['quorum', 'amqp_durable_queues=0'],
    ['classic-durable', 'amqp_durable_queues=1'],
    ['classic-durable', 'rabbit_quorum_queue=0'],
    ['oslo-default', 'rabbit_quorum_queue=0&amqp_durable_queues=0'],
  ] as const)('finds %s configured and %s in the URL to agree', (name, query) => {
    expect(topology(`rabbit://h?${query}`, { topology: name })).toBe(name)
  })

  it.each([
    ['quorum', 'rabbit_quorum_queue=0'],
    ['classic-durable', 'rabbit_quorum_queue=1'],
    ['classic-durable', 'amqp_durable_queues=0'],
    ['oslo-default', 'amqp_durable_queues=1'],
  ] as const)('refuses %s configured beside %s in the URL, naming both', (name, query) => {
    const both = () => topology(`rabbit://u:s3cr3t@h?${query}`, { topology: name })

    expect(both).toThrow(InvalidConfiguration)
    expect(both).toThrow(`transport.topology is ${name}, and the URL of the broker says ${query}`)
    expect(both).not.toThrow('s3cr3t')
  })

  it('takes the arguments of queues from the URL, misspelt as they are there', () => {
    const query = [
      'rabbit_quorum_queue=1&rabbit_quorum_delivery_limit=25&rabbit_quroum_max_memory_length=1000',
      'rabbit_quroum_max_memory_bytes=0&rabbit_transient_quorum_queue=1&rabbit_transient_queues_ttl=60',
    ].join('&')

    expect(settings(`rabbit://h?${query}`).topology).toEqual({
      name: 'quorum',
      quorumArguments: { 'x-delivery-limit': 25, 'x-max-in-memory-length': 1000 },
      transientQuorumQueues: true,
      unusedQueueTtlSeconds: 60,
    })
    expect(settings('rabbit://h', { quorumMaxMemoryBytes: 5 }).topology.quorumArguments).toEqual({
      'x-max-in-memory-bytes': 5,
    })
  })

  it('takes TLS from the scheme or from ssl, with its files from either side', () => {
    const files = 'ssl_ca_file=/ca.pem&ssl_cert_file=/cert.pem&ssl_key_file=/key.pem'
    const tls = { caFile: '/ca.pem', certFile: '/cert.pem', keyFile: '/key.pem' }

    expect(settings(`rabbit://h?ssl=1&${files}`).tls).toEqual({
      ...tls,
      keyPassphraseFile: undefined,
      verifyHostname: true,
    })
    expect(settings('amqps://h', { ...tls, keyPassphraseFile: '/secret' }).tls).toEqual({
      ...tls,
      keyPassphraseFile: '/secret',
      verifyHostname: true,
    })
    expect(settings('amqps://h?ssl_enforce_hostname_verification=0').tls).toMatchObject({ verifyHostname: false })
    expect(settings('amqps://h', { verifyHostname: false }).tls).toMatchObject({ verifyHostname: false })
    expect(settings('rabbit://h?ssl=0').tls).toBeUndefined()
  })

  it.each<[string, Omit<BrokerOptions, 'url'>, string]>([
    ['amqps://h?ssl=0', {}, 'begins with amqps and has ssl=0'],
    ['amqp://h', { caFile: '/ca.pem' }, 'does not ask for TLS'],
    ['amqp://h?ssl_ca_file=s3cr3t', {}, 'does not ask for TLS'],
    ['amqps://h', { certFile: '/cert.pem' }, 'only one of them is given'],
    ['amqps://h', { keyPassphraseFile: '/secret' }, 'there is no key'],
    ['amqps://h?ssl_ca_file=s3cr3t', { caFile: '/ca.pem' }, 'transport.ca_file and the option ssl_ca_file'],
    [
      'amqps://h?ssl_enforce_hostname_verification=0',
      { verifyHostname: true },
      'transport.verify_hostname and the option ssl_enforce_hostname_verification',
    ],
    ['amqps://h?rabbit_login_method=EXTERNAL', {}, 'EXTERNAL needs a client certificate'],
    ['amqp://h?rabbit_login_method=PLAIN', { loginMethod: 'AMQPLAIN' }, 'transport.login_method and'],
    ['amqp://h?rabbit_quorum_delivery_limit=5', { quorumDeliveryLimit: 6 }, 'transport.quorum_delivery_limit and'],
    ['amqp://h?amqp_durable_queues=1', { quorumDeliveryLimit: 6 }, 'is for quorum queues'],
  ])('refuses %s with %j: %s', (url, options, problem) => {
    expect(() => settings(url, options)).toThrow(InvalidConfiguration)
    expect(() => settings(url, options)).toThrow(problem)
    expect(() => settings(url, options)).not.toThrow('s3cr3t')
  })

  it.each([
    ['amqp_auto_delete=1', 'its option amqp_auto_delete is not supported'],
    ['rabbit_stream_fanout=1', 'its option rabbit_stream_fanout is not supported'],
    ['ssl_enforce_fips_mode=1', 'its option ssl_enforce_fips_mode is not supported'],
    ['rabbit_ha_queues=1&rabbit_quorum_queue=1', 'rabbit_ha_queues and rabbit_quorum_queue'],
    ['rabbit_login_method=RABBIT-CR-DEMO', 'its option rabbit_login_method is none of'],
    ['ssl_version=TLSv1', 'its option ssl_version is none of'],
    ['rabbit_transient_queues_ttl=0', 'rabbit_transient_queues_ttl is 0'],
    ['rabbit_transient_queues_ttl=5000000', 'rabbit_transient_queues_ttl is above'],
    ['heartbeat_timeout_threshold=70000', 'heartbeat_timeout_threshold is above'],
    ['heartbeat=s3cr3t', 'its option heartbeat is not a whole number'],
    ['rabbit_quorum_queue=s3cr3t', 'its option rabbit_quorum_queue is neither true nor false'],
    ['ssl=1&s3cr3t=1', 'its option 2 is not known'],
    ['ssl=1&ssl=0', 'an option twice'],
    ['rabbit_quorum_max_memory_bytes=1&rabbit_quroum_max_memory_bytes=2', 'differ'],
  ])('refuses the option %s, and quotes no value', (query, problem) => {
    expect(() => settings(`rabbit://h?${query}`)).toThrow(InvalidConfiguration)
    expect(() => settings(`rabbit://h?${query}`)).toThrow(problem)
    expect(() => settings(`rabbit://h?${query}`)).not.toThrow('s3cr3t')
  })

  it('names the options that change nothing here', () => {
    const query = 'kombu_reconnect_delay=0.5&rabbit_ha_queues=1&amqp_auto_delete=0&ssl_version=SSLv23&heartbeat_rate=3'

    expect(settings(`rabbit://h?${query}`).withoutEffect).toEqual([
      'kombu_reconnect_delay',
      'heartbeat_rate',
      'ssl_version',
      'rabbit_ha_queues',
    ])
  })

  it("lets the URL's heartbeat win, and switch it off", () => {
    expect(settings('amqp://h?heartbeat=0', { heartbeatSeconds: 60 }).heartbeatSeconds).toBe(0)
    expect(settings('rabbit://h?heartbeat_timeout_threshold=10').heartbeatSeconds).toBe(10)
    expect(settings('amqp://h', { heartbeatSeconds: 60 }).heartbeatSeconds).toBe(60)
  })

  it('says who we are to the broker, where that is known', () => {
    const files = { certFile: '/cert.pem', keyFile: '/key.pem' }
    const userId = (url: string, options: Omit<BrokerOptions, 'url'> = {}) => {
      const all = settings(url, options)
      return all.hosts.map((host) => userIdOn(all, host))
    }

    expect(userId('rabbit://conductor:p@h1,h2')).toEqual(['conductor', 'guest'])
    expect(userId('amqps://h?rabbit_login_method=EXTERNAL', files)).toEqual([undefined])
    expect(userId('amqps://node1@h?rabbit_login_method=EXTERNAL', files)).toEqual(['node1'])
    // An OAuth 2 token comes as the password of nobody.
    expect(userId('amqp://:token@h')).toEqual([undefined])
    expect(userId('amqp://u:p@h', { sendUserId: false })).toEqual([undefined])
  })

  it('is described without anything secret', () => {
    const all = settings('rabbit://user:s3cr3t@h1:5672,user:s3cr3t@[::1]:5673/nova%2Fcell1?ssl=1')

    expect(describeBroker(all)).toBe('amqps://h1:5672,[::1]:5673/nova%2Fcell1')
    expect(describeBroker(settings('amqp://user:s3cr3t@h'))).toBe('amqp://h:5672/')
  })

  it('is settings or InvalidConfiguration for any options', () => {
    const option = fc.constantFrom(
      ...['ssl', 'ssl_ca_file', 'ssl_cert_file', 'ssl_key_file', 'rabbit_quorum_queue', 'amqp_durable_queues'],
      ...['heartbeat', 'rabbit_login_method', 'rabbit_transient_queues_ttl', 'amqp_auto_delete', 'nonsense', ''],
    )
    const value = fc.constantFrom('1', '0', '', 'true', 'x', 'PLAIN', 'EXTERNAL', '%', '%FF', '1&', '99999999999999999')
    fc.assert(
      fc.property(fc.array(fc.tuple(option, value)), fc.boolean(), (pairs, secure) => {
        const query = pairs.map(([name, text]) => `${name}=${text}`).join('&')
        try {
          settings(`${secure ? 'amqps' : 'rabbit'}://h?${query}`)
        } catch (error) {
          expect(error).toBeInstanceOf(InvalidConfiguration)
        }
      }),
    )
  })
})
