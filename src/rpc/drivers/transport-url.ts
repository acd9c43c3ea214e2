import { InvalidConfiguration } from '../../errors.ts'

export interface BrokerHost {
  readonly hostname: string
  readonly port: number
  readonly username: string
  readonly password: string
}

/** Where the broker is, and who we are there. Has passwords: log `describeAddress` of it, never itself. */
export interface BrokerAddress {
  readonly tls: boolean
  readonly hosts: readonly [BrokerHost, ...BrokerHost[]]
  readonly vhost: string
  /** PEM file of the authorities to trust beside `tls`; the system's when absent. */
  readonly caFile: string | undefined
  /** 0 disables heartbeats. */
  readonly heartbeatSeconds: number | undefined
}

const OPTIONS = ['ssl', 'ssl_ca_file', 'heartbeat', 'heartbeat_timeout_threshold'] as const
const DEFAULT_PORT = 5672
const DEFAULT_TLS_PORT = 5671

/**
 * Reads `amqp://`, `amqps://`, and oslo.messaging's `rabbit://` with its list of hosts (its port is 5672 also with TLS).
 *
 * A part of the URL is never quoted in an error: where the parts are mixed up, any of them may be a password.
 *
 * @throws InvalidConfiguration
 */
export function parseTransportUrl(url: string): BrokerAddress {
  const match = /^([a-z+]+):\/\/([^/?#]*)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(url.trim())
  if (match === null) throw wrong('it is not of the form amqp://user:password@host:port/vhost')
  const [, scheme = '', authority = '', path = '', query = ''] = match
  if (!['amqp', 'amqps', 'rabbit', 'kombu'].includes(scheme)) throw wrong('it must begin with amqp, amqps or rabbit')
  if (`${path}${query}`.includes('@')) throw wrong('there is an @ behind the host')

  const options = parseOptions(query)
  const tls = scheme === 'amqps' || isTrue(options.get('ssl'))
  const defaultPort = scheme === 'amqps' ? DEFAULT_TLS_PORT : DEFAULT_PORT
  const [first, ...others] = authority.split(',').map((host, index) => parseHost(host, index + 1, defaultPort))
  return {
    tls,
    hosts: [first as BrokerHost, ...others],
    vhost: decode(path.replace(/^\/{1,2}/, ''), 'the vhost') || '/',
    caFile: options.get('ssl_ca_file'),
    heartbeatSeconds: parseSeconds(options.get('heartbeat') ?? options.get('heartbeat_timeout_threshold')),
  }
}

/** `amqp://host:5672/vhost`, without anything secret. */
export function describeAddress({ tls, hosts, vhost }: BrokerAddress, host?: BrokerHost): string {
  const shown = (host ? [host] : hosts).map(({ hostname, port }) => {
    return `${hostname.includes(':') ? `[${hostname}]` : hostname}:${port}`
  })
  return `${tls ? 'amqps' : 'amqp'}://${shown.join(',')}/${vhost === '/' ? '' : encodeURIComponent(vhost)}`
}

function parseHost(text: string, position: number, defaultPort: number): BrokerHost {
  const name = `host ${position}`
  const at = text.lastIndexOf('@')
  const [, username = 'guest', password] = at < 0 ? [] : (/^([^:]*)(?::(.*))?$/.exec(text.slice(0, at)) ?? [])
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*))(?::(\d{0,5}))?$/.exec(text.slice(at + 1))
  if (match === null) throw wrong(`${name} or its port cannot be read`)
  const port = match[3] ? Number(match[3]) : defaultPort
  if (port < 1 || port > 65_535) throw wrong(`the port of ${name} is not between 1 and 65535`)
  return {
    hostname: match[1] ?? (match[2] || 'localhost'),
    port,
    username: decode(username, `the user of ${name}`),
    password: decode(password ?? (at < 0 ? 'guest' : ''), `the password of ${name}`),
  }
}

function parseOptions(query: string): ReadonlyMap<string, string> {
  const options = new Map(new URLSearchParams(query))
  for (const name of options.keys()) {
    if (!OPTIONS.some((known) => known === name)) {
      throw wrong(`it has an option that is not known; known are ${OPTIONS.join(', ')}`)
    }
  }
  return options
}

function parseSeconds(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text)) throw wrong('its heartbeat is not a number of seconds')
  return Number(text)
}

/** As oslo.config reads a boolean. */
function isTrue(text: string | undefined): boolean {
  return text !== undefined && ['1', 'true', 'yes', 'on'].includes(text.toLowerCase())
}

function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw wrong(`${what} has a % that encodes nothing`)
  }
}

function wrong(problem: string): InvalidConfiguration {
  const fix = 'write / : @ , ? # and % in a user or password percent-encoded (%2F %3A %40 %2C %3F %23 %25)'
  return new InvalidConfiguration(`the URL of the broker is wrong: ${problem}; ${fix}`, { problems: [problem], fix })
}
