import { agreed, contradiction } from './agreed.ts'
import { type LoginMethod, type OsloOptions, readOsloOptions } from './oslo-options.ts'
import type { Topology } from './rabbit-topology.ts'
import { type TopologyOptions, topologyOf } from './topology-options.ts'
import { type BrokerHost, parseTransportUrl, type TransportUrl } from './transport-url.ts'

/** Where the broker is, who we are there and what is declared. What the URL says too must be the same here. */
export interface BrokerOptions extends TopologyOptions {
  /** `amqp(s)://` or oslo.messaging's `rabbit://`, with as many hosts as there are. */
  readonly url: string
  /** PEM file of the authorities to trust; without it those that Node trusts. */
  readonly caFile?: string | undefined
  /** PEM file of our certificate, with those between it and its authority. */
  readonly certFile?: string | undefined
  /** PEM file of its key. */
  readonly keyFile?: string | undefined
  /** File of the passphrase that the key is encrypted with. */
  readonly keyPassphraseFile?: string | undefined
  /** False takes a trusted certificate of any host for the broker's. */
  readonly verifyHostname?: boolean | undefined
  readonly loginMethod?: LoginMethod | undefined
  /** The URL's own wins. 0 disables heartbeats. */
  readonly heartbeatSeconds?: number | undefined
  /** False leaves AMQP's `user-id` out: for brokers that know us by another name than we log in with. */
  readonly sendUserId?: boolean | undefined
}

export interface TlsFiles {
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly keyPassphraseFile: string | undefined
  readonly verifyHostname: boolean
}

/** What the URL and the configuration say together. Has passwords: log `describeBroker` of it, never itself. */
export interface BrokerSettings {
  readonly hosts: TransportUrl['hosts']
  readonly vhost: string
  /** Undefined: no TLS. */
  readonly tls: TlsFiles | undefined
  readonly loginMethod: LoginMethod
  /** 0 disables heartbeats. */
  readonly heartbeatSeconds: number
  readonly sendUserId: boolean
  readonly topology: Topology
  /** Options of the URL that change nothing here. */
  readonly withoutEffect: readonly string[]
}

const DEFAULT_HEARTBEAT_SECONDS = 30

/** @throws InvalidConfiguration when the URL is wrong, or the two contradict each other: naming both */
export function brokerSettings(options: BrokerOptions): BrokerSettings {
  const { isAmqps, hosts, vhost, query } = parseTransportUrl(options.url)
  const said = readOsloOptions(query)
  const tls = tlsOf(options, said, isAmqps)
  const loginMethod = agreed('login_method', options.loginMethod, 'rabbit_login_method', said.loginMethod) ?? 'PLAIN'
  if (loginMethod === 'EXTERNAL' && tls?.certFile === undefined) {
    throw contradiction(
      'the login method EXTERNAL needs a client certificate, and there is none',
      'set transport.cert_file and transport.key_file (ssl_cert_file, ssl_key_file) and use amqps',
    )
  }
  return {
    hosts,
    vhost,
    tls,
    loginMethod,
    heartbeatSeconds: said.heartbeatSeconds ?? options.heartbeatSeconds ?? DEFAULT_HEARTBEAT_SECONDS,
    sendUserId: options.sendUserId ?? true,
    topology: topologyOf(options, said),
    withoutEffect: said.withoutEffect,
  }
}

/** `amqp://host:5672/vhost`, without anything secret. */
export function describeBroker(
  { tls, hosts, vhost }: Pick<BrokerSettings, 'tls' | 'hosts' | 'vhost'>,
  host?: BrokerHost,
): string {
  const shown = (host ? [host] : hosts).map(({ hostname, port }) => {
    return `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`
  })
  return `${tls ? 'amqps' : 'amqp'}://${shown.join(',')}/${vhost === '/' ? '' : encodeURIComponent(vhost)}`
}

/** The name by which the broker knows us on a host, to be sent as AMQP's `user-id`; undefined when nobody can say. */
export function userIdOn({ loginMethod, sendUserId }: BrokerSettings, host: BrokerHost): string | undefined {
  if (!sendUserId) return undefined
  // The broker makes the name from the certificate: it is known only to those who write it into the URL.
  return (loginMethod === 'EXTERNAL' && host.isGuest) || host.username === '' ? undefined : host.username
}

function tlsOf(options: BrokerOptions, said: OsloOptions, isAmqps: boolean): TlsFiles | undefined {
  if (isAmqps && said.ssl === false) {
    throw contradiction('the URL of the broker begins with amqps and has ssl=0', 'write amqp:// or leave ssl out')
  }
  const files = {
    caFile: agreed('ca_file', options.caFile, 'ssl_ca_file', said.caFile),
    certFile: agreed('cert_file', options.certFile, 'ssl_cert_file', said.certFile),
    keyFile: agreed('key_file', options.keyFile, 'ssl_key_file', said.keyFile),
    keyPassphraseFile: options.keyPassphraseFile,
  }
  const given = Object.values(files).filter((file) => file !== undefined)
  if (!isAmqps && !said.ssl) {
    if (given.length === 0) return undefined
    throw contradiction(
      'there are files for TLS, and the URL of the broker does not ask for TLS',
      "write amqps:// (or ssl=1), or leave transport.ca_file, cert_file, key_file and oslo's ssl_… options out",
    )
  }
  if ((files.certFile === undefined) !== (files.keyFile === undefined)) {
    throw contradiction(
      'a client certificate and its key belong together, and only one of them is given',
      'set transport.cert_file and transport.key_file (ssl_cert_file, ssl_key_file); both may be in one file',
    )
  }
  if (files.keyPassphraseFile !== undefined && files.keyFile === undefined) {
    throw contradiction('transport.key_passphrase_file is set, and there is no key', 'set transport.key_file')
  }
  const option = 'ssl_enforce_hostname_verification'
  const verifyHostname = agreed('verify_hostname', options.verifyHostname, option, said.verifyHostname) ?? true
  return { ...files, verifyHostname }
}
