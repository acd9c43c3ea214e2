import { InvalidConfiguration } from '../../../errors.ts'

/** Where a daemon may listen. */
export type Endpoint =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'tls'; readonly host: string; readonly port: number; readonly verify: boolean }

export interface LibvirtUri {
  /** Without what is about the way to the daemon: this is what the daemon is told. */
  readonly name: string
  /** Tried in order: there is one daemon for all (libvirtd), or one for this hypervisor (virtqemud). */
  readonly endpoints: readonly Endpoint[]
}

/** Where sockets are: of the system, and of the user who asks. */
export interface SocketFolders {
  readonly system: string
  readonly session: string
}

/** Source: libvirt's "Connection URIs" and "Remote support" */
const PORTS = { tcp: 16_509, tls: 16_514 } as const
const FORM =
  'give it as qemu:///system, qemu+unix:///system?socket=/path, qemu+tcp://host/system or qemu+tls://host/system'

/**
 * Takes libvirt's URI apart: driver, the way there (`unix`, `tcp`, `tls`; with a host and no way: TLS), host, port, and of
 * the parameters `socket` and `no_verify`.
 *
 * @throws InvalidConfiguration
 */
export function parseLibvirtUri(uri: string, folders: SocketFolders): LibvirtUri {
  const parts =
    /^(?<driver>[a-z]+)(?:\+(?<way>[a-z0-9]+))?:\/\/(?<place>[^/?#]*)(?<path>\/[^?#]*)(?:\?(?<query>[^#]*))?$/.exec(uri)
  const { driver = '', way, place = '', path = '', query } = parts?.groups ?? {}
  if (parts === null) throw wrong(uri, 'is no libvirt URI', FORM)
  const params = new URLSearchParams(query)
  const name = `${driver}://${path}`
  switch (way ?? (place === '' ? 'unix' : 'tls')) {
    case 'unix':
      if (place !== '')
        throw wrong(uri, 'names a host, and a socket is on this one', 'leave the host out, or take qemu+tls')
      return { name, endpoints: socketsOf(uri, driver, path, params.get('socket'), folders) }
    case 'tcp':
      return { name, endpoints: [{ kind: 'tcp', ...hostAndPort(uri, place, PORTS.tcp) }] }
    case 'tls': {
      const verify = !['1', 'yes'].includes(params.get('no_verify') ?? '')
      return { name, endpoints: [{ kind: 'tls', ...hostAndPort(uri, place, PORTS.tls), verify }] }
    }
    default:
      throw wrong(uri, `goes by ${way}, which is not spoken here`, FORM)
  }
}

function socketsOf(
  uri: string,
  driver: string,
  path: string,
  socket: string | null,
  folders: SocketFolders,
): readonly Endpoint[] {
  if (socket !== null) return [{ kind: 'unix', path: socket }]
  const folder = path === '/session' ? folders.session : folders.system
  if (folder === '')
    throw wrong(uri, 'asks for a session, and there is no folder for sockets', 'name it: ?socket=/path')
  // libvirt's own order: who runs both of them has set up the modular one.
  return [`virt${driver}d-sock`, 'libvirt-sock'].map((file) => ({ kind: 'unix', path: `${folder}/${file}` }))
}

function hostAndPort(uri: string, place: string, usual: number): { host: string; port: number } {
  const { host, ipv6, port } =
    /^(?:\[(?<ipv6>[0-9a-f:]+)\]|(?<host>[^:@[\]]+))(?::(?<port>\d+))?$/i.exec(place)?.groups ?? {}
  const name = ipv6 ?? host
  if (name === undefined) throw wrong(uri, `has no host in "${place}"`, FORM)
  const number = port === undefined ? usual : Number(port)
  if (number < 1 || number > 65_535) throw wrong(uri, `has the port ${port}`, 'ports are 1 to 65535')
  return { host: name, port: number }
}

function wrong(uri: string, problem: string, fix: string): InvalidConfiguration {
  const what = `libvirt's URI ${uri} ${problem}`
  return new InvalidConfiguration(`${what}; ${fix}`, { problems: [what], uri, fix })
}
