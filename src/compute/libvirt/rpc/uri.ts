import { InvalidConfiguration } from '../../../errors.ts'

/** Where a daemon may listen. */
export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'tls'; readonly host: string; readonly port: number; readonly verify: boolean }

export interface LibvirtUri {
  /** Without what is about the way to the daemon: this is what the daemon is told. */
  readonly name: string
  /** Tried in order: a host has a daemon for this hypervisor (virtqemud), or one for all (libvirtd). */
  readonly endpoints: readonly Endpoint[]
}

/** Where sockets are: of the system, and of the user who asks. */
export interface SocketFolders {
  readonly system: string
  readonly session: string
}

/** Source: libvirt's "Connection URIs" and "Remote support" */
const PORTS = { tcp: 16_509, tls: 16_514 } as const
const PARAMETERS = ['socket', 'no_verify']
const FORM =
  'give it as qemu:///system, qemu+unix:///system?socket=/path, qemu+tcp://host/system or qemu+tls://host/system'

/**
 * Takes libvirt's URI apart: driver, the way there (`unix`, `tcp`, `tls`; with a host and no way: TLS), host, port, and the
 * parameters `socket` and `no_verify`.
 *
 * @throws InvalidConfiguration
 */
export function parseLibvirtUri(uri: string, folders: SocketFolders): LibvirtUri {
  const url = URL.canParse(uri) ? new URL(uri) : undefined
  const [, driver, way] = /^([a-z]+)(?:\+([a-z0-9]+))?:$/.exec(url?.protocol ?? '') ?? []
  if (url === undefined || driver === undefined || url.pathname === '') throw wrong(uri, 'is no URI of libvirt', FORM)
  for (const name of url.searchParams.keys()) {
    if (!PARAMETERS.includes(name))
      throw wrong(uri, `has the parameter ${name}`, `known here: ${PARAMETERS.join(', ')}`)
  }
  return { name: `${driver}://${url.pathname}`, endpoints: endpointsOf(uri, url, driver, way, folders) }
}

function endpointsOf(
  uri: string,
  url: URL,
  driver: string,
  given: string | undefined,
  folders: SocketFolders,
): readonly Endpoint[] {
  const way = given ?? (url.hostname === '' ? 'unix' : 'tls')
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  if (way === 'unix') {
    if (host !== '') throw wrong(uri, 'names a host, but its socket is on this one', 'leave it out, or take qemu+tls')
    return socketsOf(url, driver, folders)
  }
  if (way !== 'tcp' && way !== 'tls') throw wrong(uri, `goes by ${way}, which is not spoken here`, FORM)
  if (host === '') throw wrong(uri, 'names no host', FORM)
  const port = url.port === '' ? PORTS[way] : Number(url.port)
  if (way === 'tcp') return [{ kind: 'tcp', host, port }]
  return [{ kind: 'tls', host, port, verify: (url.searchParams.get('no_verify') ?? '0') === '0' }]
}

function socketsOf({ pathname, searchParams }: URL, driver: string, folders: SocketFolders): readonly Endpoint[] {
  const socket = searchParams.get('socket')
  if (socket !== null) return [{ kind: 'unix', path: socket }]
  const folder = pathname === '/session' ? folders.session : folders.system
  // Beside a modular daemon the other socket is a proxy's (virtproxyd), if anybody's.
  return [`virt${driver}d-sock`, 'libvirt-sock'].map((file) => ({ kind: 'unix', path: `${folder}/${file}` }))
}

function wrong(uri: string, problem: string, fix: string): InvalidConfiguration {
  const what = `libvirt's URI ${uri} ${problem}`
  return new InvalidConfiguration(`${what}; ${fix}`, { problems: [what], uri, fix })
}
