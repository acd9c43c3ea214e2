import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, describe, expect, inject, it, onTestFinished, vi } from 'vitest'
import { connect } from '../../src/client.ts'
import { InvalidConfiguration, NoSuchServer } from '../../src/errors.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { bind } from '../../src/rpc/dispatcher.ts'
import { RabbitTransport, type RabbitTransportOptions } from '../../src/rpc/drivers/rabbit.ts'
import { pingApiOf } from '../../src/rpc/ping.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { RpcServer } from '../../src/rpc/server.ts'
import type { Delivery } from '../../src/rpc/transport.ts'
import { notRun } from '../servers/not-run.ts'
import { Authority, type Identity, type Wanted } from '../support/certificates.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { startTlsBroker } from '../support/tls-broker.ts'
import { freshNames, silent } from '../support/transports.ts'

const authority = new Authority('the cloud')
const stranger = new Authority('a stranger')

/** Any certificate will do for `open`; `strict` demands one of ours. Each answers to one name, both are this machine. */
const [open, strict] = await Promise.all([
  startTlsBroker({ identity: authority.issue({ name: 'broker-a', hosts: ['localhost'] }) }),
  startTlsBroker({
    identity: authority.issue({ name: 'broker-b', hosts: ['127.0.0.1'] }),
    clientAuthority: authority.certificate,
    users: ['guest', 'node1', 'stranger'],
  }),
])
if (!open || !strict) {
  notRun({
    name: 'TLS to a real broker',
    why: 'RabbitMQ is not installed, and a container is given no certificates here',
    how: 'apt-get install rabbitmq-server',
  })
}

const folder = mkdtempSync(join(tmpdir(), 'sevbus-tls-client-'))
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await Promise.all([open?.[Symbol.asyncDispose](), strict?.[Symbol.asyncDispose]()])
})

let files = 0
function file(content: string): string {
  const path = join(folder, `${files++}.pem`)
  writeFileSync(path, content)
  return path
}

const caFile = file(authority.certificate)

function own({ certificate, key }: Identity) {
  return { certFile: file(certificate), keyFile: file(key) }
}

const identity = (wanted: Partial<Wanted> = {}) => authority.issue({ name: 'guest', ...wanted })

describe.runIf(open && strict)('TLS to the broker', () => {
  const atOpen = `amqps://guest:guest@localhost:${open?.tlsPort}/`
  const atStrict = `amqps://guest:guest@127.0.0.1:${strict?.tlsPort}/`

  function connecting(options: Omit<RabbitTransportOptions, 'logger'>) {
    const reasons: string[] = []
    const lines: string[] = []
    const logger = pino({ level: 'info' }, { write: (line) => lines.push(line) })
    const transport = new RabbitTransport({ logger, onWaiting: (reason) => reasons.push(reason), ...options })
    onTestFinished(() => transport.close())
    const connected = transport.connect(AbortSignal.timeout(20_000))
    connected.catch(() => {})
    return { transport, connected, reasons, lines }
  }

  /** Waits until it has said why it cannot connect. */
  async function trouble(options: Omit<RabbitTransportOptions, 'logger'>): Promise<string> {
    const { reasons, transport } = connecting(options)
    await vi.waitFor(() => expect(reasons).not.toEqual([]), { timeout: 15_000 })
    await transport.close()
    return reasons[0] as string
  }

  /** Sends a message through the broker and back. */
  async function roundTrip(transport: RabbitTransport): Promise<Delivery> {
    const { exchange, topicPrefix } = freshNames()
    const topic = `${topicPrefix}tls`
    const received: Delivery[] = []
    const listener = await transport.listen(
      { kind: 'server', exchange, topic, server: 'node1' },
      (it) => {
        received.push(it)
        it.ack()
      },
      { prefetch: 1 },
    )
    await transport.publish({ kind: 'topic', exchange, topic }, { body: '1', mandatory: true })
    await vi.waitFor(() => expect(received).toHaveLength(1))
    await listener.close()
    return received[0] as Delivery
  }

  it('carries messages when the certificate is signed by whom we trust, and for the host', async () => {
    const { transport, connected, lines } = connecting({ url: atOpen, caFile })
    await connected

    await roundTrip(transport)

    expect(transport.description).toMatch(/^RabbitMQ \S+ at amqps:\/\/localhost:\d+\/$/)
    expect(lines).toEqual([])
  })

  it("takes oslo.messaging's options in the URL", async () => {
    const { certFile, keyFile } = own(identity())
    const query = `ssl=1&ssl_ca_file=${caFile}&ssl_cert_file=${certFile}&ssl_key_file=${keyFile}`
    const { transport, connected } = connecting({ url: `${atStrict.replace('amqps', 'rabbit')}?${query}` })
    await connected

    await roundTrip(transport)
  })

  it("is in a client's options, too", async () => {
    const { exchange, topicPrefix } = freshNames()
    await using sevbus = await connect({ url: atStrict, exchange, topicPrefix, caFile, ...own(identity()) })

    await expect(sevbus.scheduler.listHosts(newRequestContext(), {})).rejects.toThrow(NoSuchServer)
  })

  it('says whose certificate it does not trust, who signed it, and where to put the one that does', async () => {
    const otherCa = file(stranger.certificate)
    const reason = await trouble({ url: atOpen, caFile: otherCa })

    expect(reason).toContain(`no connection to amqps://localhost:${open?.tlsPort}/: its certificate (CN=broker-a`)
    expect(reason).toContain(`signed by CN=the cloud, valid from `)
    expect(reason).toContain(`is signed by none of ${otherCa}`)
    expect(reason).toContain('into transport.ca_file (ssl_ca_file)')
  })

  it('trusts what Node trusts when no authority is given, and so not ours', async () => {
    expect(await trouble({ url: atOpen })).toContain('is signed by none of the list of authorities that Node has')
  })

  it('says which names a certificate is for that is not for the host', async () => {
    const reason = await trouble({ url: `amqps://guest:guest@127.0.0.1:${open?.tlsPort}/`, caFile })

    expect(reason).toContain('its certificate is for DNS:localhost, and not for 127.0.0.1')
    expect(reason).toContain('transport.verify_hostname = false (ssl_enforce_hostname_verification=0)')
  })

  it('takes a trusted certificate of another host when told so, with a warning, and no other certificate', async () => {
    const url = `rabbit://guest:guest@127.0.0.1:${open?.tlsPort}/?ssl=1&ssl_enforce_hostname_verification=0`
    const { transport, connected, lines } = connecting({ url, caFile })
    await connected

    await roundTrip(transport)

    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      { level: 40, msg: expect.stringContaining("the name in the broker's certificate is not checked") },
    ])
    expect(await trouble({ url, caFile: file(stranger.certificate) })).toContain('is signed by none of')
  })

  it('says that the broker demands a certificate of ours', async () => {
    expect(await trouble({ url: atStrict, caFile })).toContain(
      'the broker demands a certificate of ours; set transport.cert_file and transport.key_file',
    )
  })

  it('shows our certificate, its key encrypted or not', async () => {
    const encrypted = own(identity({ passphrase: 'open sesame' }))
    const { transport, connected } = connecting({
      url: atStrict,
      caFile,
      ...encrypted,
      keyPassphraseFile: file('open sesame\n'),
    })
    await connected

    await roundTrip(transport)
  })

  it.each([
    ['of a stranger', stranger.issue({ name: 'guest' })],
    ['that is over', identity({ validFrom: new Date(0), validTo: new Date(1000) })],
  ])('says that the broker refuses a certificate %s', async (_what, identity) => {
    const files = own(identity)
    const reason = await trouble({ url: atStrict, caFile, ...files })

    expect(reason).toContain(`the broker refuses our certificate ${files.certFile} (`)
    expect(reason).toContain('CN=guest, signed by CN=')
  })

  it('logs in by our certificate, without a password', async () => {
    const { transport, connected } = connecting({
      url: `amqps://127.0.0.1:${strict?.tlsPort}/`,
      loginMethod: 'EXTERNAL',
      caFile,
      ...own(identity({ name: 'guest' })),
    })
    await connected

    const { userId } = await roundTrip(transport)
    expect(userId).toBeUndefined()
  })

  it('is told apart by its certificate: a server takes requests of its users, and of nobody else', async () => {
    const { exchange, topicPrefix } = freshNames()
    const names = { exchange, topicPrefix }
    const at = async (user: string) => {
      const url = `amqps://${user}@127.0.0.1:${strict?.tlsPort}/?rabbit_login_method=EXTERNAL`
      const { transport, connected } = connecting({ url, caFile, ...own(identity({ name: user })) })
      await connected
      return transport
    }
    const server = new RpcServer({
      transport: await at('guest'),
      logger: silent,
      server: 'h1',
      names,
      allowedSenders: ['node1'],
      bindings: [bind(pingApiOf('host'), { ping: async () => 'pong' as const })],
    })
    await server.start()
    const ping = async (user: string) => {
      const rpc = new RpcClient({ transport: await at(user), logger: silent, names, allowedSenders: ['guest'] })
      onTestFinished(() => rpc.close())
      return rpc.of(pingApiOf('host')).ping(newRequestContext(), {})
    }

    expect(await ping('node1')).toBe('pong')
    await expect(ping('stranger')).rejects.toMatchObject({
      code: 'SENDER_NOT_ALLOWED',
      details: { user_id: 'stranger' },
    })
  })

  it('cannot say that it is another than its certificate says', async () => {
    const url = `amqps://node1@127.0.0.1:${strict?.tlsPort}/?rabbit_login_method=EXTERNAL`
    const { connected } = connecting({ url, caFile, ...own(identity({ name: 'stranger' })) })

    await expect(connected).rejects.toThrow(InvalidConfiguration)
    await expect(connected).rejects.toThrow('the broker knows us as stranger, and the URL says node1')
  })

  it('says that the broker knows nobody of the name in our certificate', async () => {
    const reason = await trouble({
      url: `amqps://127.0.0.1:${strict?.tlsPort}/?rabbit_login_method=EXTERNAL`,
      caFile,
      ...own(identity({ name: 'nobody' })),
    })

    expect(reason).toContain('ACCESS_REFUSED')
  })

  it('logs in by AMQPLAIN, as oslo.messaging does by default', async () => {
    const { transport, connected } = connecting({ url: `${atOpen}?rabbit_login_method=AMQPLAIN`, caFile })
    await connected

    await roundTrip(transport)
  })

  it('says that the broker offers no login by certificate', async () => {
    const url = `${atOpen}?rabbit_login_method=EXTERNAL`

    expect(await trouble({ url, caFile, ...own(identity()) })).toContain(
      "SASL mechanism EXTERNAL is not provided by the server; configure the broker's auth_mechanisms",
    )
  })

  it('says that a port speaks no TLS, and that one may want it', async () => {
    const plain = new URL(inject('amqpUrl'))

    expect(await trouble({ url: `amqps://${plain.hostname}:${plain.port}/`, caFile })).toContain('does not speak TLS')
    expect(await trouble({ url: atOpen.replace('amqps', 'amqp') })).toContain('a port for TLS needs amqps://')
  })

  it.each([
    ['no file', () => ({ caFile: join(folder, 'missing.pem') }), 'missing.pem cannot be read (ENOENT)'],
    ['no certificate', () => ({ caFile: file('nothing') }), 'holds no certificate'],
    [
      'the key of another certificate',
      () => ({ caFile, certFile: own(identity()).certFile, keyFile: own(identity()).keyFile }),
      'is not the key of',
    ],
    ['no key', () => ({ caFile, ...own({ ...identity(), key: 'nothing' }) }), 'holds no key'],
    ['no passphrase', () => ({ caFile, ...own(identity({ passphrase: 'x' })) }), 'is encrypted; give the passphrase'],
    [
      'a wrong passphrase',
      () => ({ caFile, ...own(identity({ passphrase: 'x' })), keyPassphraseFile: file('s3cr3t') }),
      'is encrypted with another passphrase',
    ],
  ])('ends at once with the file that is wrong: %s', async (_what, options, problem) => {
    const { connected, transport } = connecting({ url: atStrict, ...options() })

    const error = await connected.catch((thrown: unknown) => thrown)

    expect(error).toBeInstanceOf(InvalidConfiguration)
    expect((error as Error).message).toContain(problem)
    expect((error as Error).message).not.toContain('s3cr3t')
    const listening = transport.listen({ kind: 'reply', queue: 'never' }, () => {}, { prefetch: 1 })
    await expect(listening).rejects.toThrow(InvalidConfiguration)
  })

  it('reads its files anew at every try, and waits while they are being replaced', async () => {
    const proxy = await proxyTo(open?.tlsPort)
    const replaced = file(stranger.certificate)
    const { transport, connected, reasons } = connecting({
      url: `amqps://guest:guest@localhost:${proxy.port}/`,
      caFile: replaced,
    })
    await vi.waitFor(() => expect(reasons.join()).toContain('is signed by none of'), { timeout: 15_000 })

    writeFileSync(replaced, authority.certificate)
    await connected
    writeFileSync(replaced, 'half a certif')
    proxy.cut()
    await vi.waitFor(() => expect(reasons.join()).toContain('holds no certificate'), { timeout: 15_000 })
    writeFileSync(replaced, authority.certificate)

    await transport.connect(AbortSignal.timeout(20_000))
    await roundTrip(transport)
  })

  it('goes over to another host and back, each known by its own name', async () => {
    const [one, other] = await Promise.all([proxyTo(open?.tlsPort), proxyTo(strict?.tlsPort)])
    const { transport } = connecting({
      url: `rabbit://guest:guest@localhost:${one.port},guest:guest@127.0.0.1:${other.port}/?ssl=1`,
      caFile,
      ...own(identity()),
    })

    for (const [up, down] of [
      [one, other],
      [other, one],
      [one, other],
    ] as const) {
      up.restore()
      down.goDown()
      await vi.waitFor(() => roundTrip(transport), { timeout: 20_000 })
    }
  })

  it('does not go over to a host whose certificate is for another, though it is trusted', async () => {
    const [one, other] = await Promise.all([proxyTo(open?.tlsPort), proxyTo(strict?.tlsPort)])
    const { transport, reasons } = connecting({
      url: `rabbit://guest:guest@localhost:${one.port},guest:guest@localhost:${other.port}/?ssl=1`,
      caFile,
      ...own(identity()),
    })
    await transport.connect(AbortSignal.timeout(20_000))
    one.goDown()

    await vi.waitFor(
      () => expect(reasons.join()).toContain('its certificate is for IP Address:127.0.0.1, and not for localhost'),
      { timeout: 15_000 },
    )
    await vi.waitFor(() => expect(transport.state).toBe('connecting'))
    one.restore()
    await vi.waitFor(() => roundTrip(transport), { timeout: 20_000 })
  })
})

async function proxyTo(port: number | undefined) {
  const url = `amqp://127.0.0.1:${port}`
  const proxy = await TcpProxy.to(url)
  onTestFinished(() => proxy[Symbol.asyncDispose]())
  return Object.assign(proxy, { port: Number(new URL(proxy.through(url)).port) })
}
