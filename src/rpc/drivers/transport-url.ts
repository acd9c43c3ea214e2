import { isIPv6 } from 'node:net'
import { InvalidConfiguration } from '../../errors.ts'

export interface BrokerHost {
  readonly hostname: string
  readonly port: number
  readonly username: string
  readonly password: string
  /** The URL names no user of this host; it is guest, as in oslo.messaging. */
  readonly isGuest: boolean
}

/** A broker's URL, taken apart. Has passwords. */
export interface TransportUrl {
  /** The scheme was `amqps`. */
  readonly isAmqps: boolean
  readonly hosts: readonly [BrokerHost, ...BrokerHost[]]
  readonly vhost: string
  /** What is behind the question mark: `oslo-options.ts` reads it. */
  readonly query: string
}

const DEFAULT_PORT = 5672
const DEFAULT_TLS_PORT = 5671
/** AMQP's short string, in which vhosts and user names travel. */
const MAX_NAME_BYTES = 255

/**
 * Takes `amqp://`, `amqps://`, and oslo.messaging's `rabbit://` apart: a list of hosts, each with its own credentials.
 * The port of `rabbit://` is 5672 also with TLS.
 *
 * A part of the URL is never quoted in an error: where the parts are mixed up, any of them may be a password.
 *
 * @throws InvalidConfiguration
 */
export function parseTransportUrl(url: string): TransportUrl {
  const match = /^([a-z+]+):\/\/([^?#]*)(?:\?([^#]*))?$/i.exec(url.trim())
  if (match === null) throw wrongUrl('it is not of the form amqp://user:password@host:port/vhost')
  const [, scheme = '', place = '', query = ''] = match
  const kind = scheme.toLowerCase()
  if (!['amqp', 'amqps', 'rabbit', 'kombu'].includes(kind)) throw wrongUrl('it must begin with amqp, amqps or rabbit')
  if (query.includes('@')) throw wrongUrl('there is an @ behind the question mark')

  const defaultPort = kind === 'amqps' ? DEFAULT_TLS_PORT : DEFAULT_PORT
  const { authority, path } = split(place, (text) => isHostList(text, defaultPort))
  return {
    isAmqps: kind === 'amqps',
    hosts: parseHosts(authority, defaultPort),
    vhost: name(decode(path, 'the vhost') || '/', 'the vhost'),
    query,
  }
}

/** The mistake, never what it was made with. */
export function wrongUrl(problem: string, fix?: string): InvalidConfiguration {
  const howTo =
    fix ?? 'write / : @ , ? # and % in a user, password or vhost percent-encoded (%2F %3A %40 %2C %3F %23 %25)'
  return new InvalidConfiguration(`the URL of the broker is wrong: ${problem}; ${howTo}`, {
    problems: [problem],
    fix: howTo,
  })
}

/**
 * Hosts end at the first slash. With an @ behind it, that slash may be part of a password: it is when what is before it
 * cannot be hosts. When it can, nobody knows.
 */
function split(place: string, isHosts: (text: string) => boolean): { authority: string; path: string } {
  const first = place.indexOf('/')
  if (first < 0) return { authority: place, path: '' }
  const lastAt = place.lastIndexOf('@')
  if (lastAt < first) return { authority: place.slice(0, first), path: place.slice(first + 1) }
  if (isHosts(place.slice(0, first))) {
    throw wrongUrl('there is an @ behind the first slash: of a vhost, or the slash is part of a password')
  }
  const end = place.indexOf('/', lastAt)
  return end < 0 ? { authority: place, path: '' } : { authority: place.slice(0, end), path: place.slice(end + 1) }
}

function isHostList(text: string, defaultPort: number): boolean {
  try {
    parseHosts(text, defaultPort)
    return true
  } catch {
    return false
  }
}

function parseHosts(authority: string, defaultPort: number): readonly [BrokerHost, ...BrokerHost[]] {
  // A comma too many names no host, as in oslo.messaging; a URL without any host is that of localhost.
  const [first = '', ...others] = authority.split(',').filter((host) => host !== '')
  return [parseHost(first, 1, defaultPort), ...others.map((host, index) => parseHost(host, index + 2, defaultPort))]
}

function parseHost(text: string, position: number, defaultPort: number): BrokerHost {
  const host = `host ${position}`
  const at = text.lastIndexOf('@')
  const isGuest = at < 0
  const match = /^(?:\[([^[\]]*)\]|([\w.-]*))(?::(\d{0,5}))?$/.exec(text.slice(at + 1))
  if (match === null || (match[1] !== undefined && !isIPv6(match[1]))) {
    throw wrongUrl(`${host} or its port cannot be read`)
  }
  const port = match[3] ? Number(match[3]) : defaultPort
  if (port < 1 || port > 65_535) throw wrongUrl(`the port of ${host} is not between 1 and 65535`)
  const [, username = '', password = ''] = /^([^:]*)(?::(.*))?$/s.exec(text.slice(0, Math.max(at, 0))) ?? []
  return {
    hostname: match[1] ?? (match[2] || 'localhost'),
    port,
    username: isGuest ? 'guest' : name(decode(username, `the user of ${host}`), `the user of ${host}`),
    password: isGuest ? 'guest' : withoutNul(decode(password, `the password of ${host}`), `the password of ${host}`),
    isGuest,
  }
}

/** A % that encodes nothing is one, as in Python. */
function decode(text: string, what: string): string {
  try {
    return decodeURIComponent(text.replace(/%(?![0-9a-f]{2})/gi, '%25'))
  } catch {
    throw wrongUrl(`${what} has percent-encoded bytes that are not UTF-8`)
  }
}

function name(text: string, what: string): string {
  if (Buffer.byteLength(text) <= MAX_NAME_BYTES) return withoutNul(text, what)
  throw wrongUrl(`${what} is longer than ${MAX_NAME_BYTES} bytes`, 'AMQP knows no longer names')
}

/** It would end a name on the way to the broker, and another would log in. */
function withoutNul(text: string, what: string): string {
  if (!text.includes('\0')) return text
  throw wrongUrl(`${what} has a NUL (%00)`, 'take it out')
}
