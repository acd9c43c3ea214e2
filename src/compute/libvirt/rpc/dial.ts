import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { connect as connectPlain, isIP } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as connectTls } from 'node:tls'
import { HypervisorUnavailable } from '../../../errors.ts'
import type { Endpoint } from './uri.ts'

/** Files for TLS. */
export interface PkiFiles {
  readonly caFile: string
  readonly certFile: string
  readonly keyFile: string
}

/** Where libvirt's own client looks. Source: libvirt's "TLS setup" */
export const SYSTEM_PKI: PkiFiles = {
  caFile: '/etc/pki/CA/cacert.pem',
  certFile: '/etc/pki/libvirt/clientcert.pem',
  keyFile: '/etc/pki/libvirt/private/clientkey.pem',
}

/**
 * Connects to the first of them that answers.
 *
 * @throws HypervisorUnavailable with what each said; the signal's reason
 */
export async function dial(endpoints: readonly Endpoint[], pki: PkiFiles, signal: AbortSignal): Promise<Duplex> {
  const failures: string[] = []
  for (const endpoint of endpoints) {
    try {
      return await dialOne(endpoint, pki, signal)
    } catch (error) {
      signal.throwIfAborted()
      failures.push(`${describe(endpoint)}: ${error instanceof Error ? why(error, endpoint) : String(error)}`)
    }
  }
  const fix = 'start libvirtd (or virtqemud), let this user reach its socket, or set libvirt.uri'
  throw new HypervisorUnavailable(`libvirt cannot be reached: ${failures.join('; ')}`, { failures, fix })
}

/** Node says the path of a socket, too, which is said before. */
function why({ message }: Error, endpoint: Endpoint): string {
  return endpoint.kind === 'unix' ? message.replace(` ${endpoint.path}`, '') : message
}

function describe(endpoint: Endpoint): string {
  return endpoint.kind === 'unix' ? endpoint.path : `${endpoint.kind}://${endpoint.host}:${endpoint.port}`
}

async function dialOne(endpoint: Endpoint, pki: PkiFiles, signal: AbortSignal): Promise<Duplex> {
  if (endpoint.kind === 'unix') return await reached(connectPlain(endpoint.path), 'connect', signal)
  const { host, port } = endpoint
  if (endpoint.kind === 'tcp') return await reached(connectPlain({ host, port, noDelay: true }), 'connect', signal)
  // Read for each connection, for certificates are replaced while we run.
  const [ca, cert, key] = await Promise.all([readFile(pki.caFile), ifThere(pki.certFile), ifThere(pki.keyFile)])
  const named = isIP(host) ? {} : { servername: host }
  const socket = connectTls({ host, port, ca, cert, key, rejectUnauthorized: endpoint.verify, ...named })
  socket.setNoDelay(true)
  await reached(socket, 'secureConnect', signal)
  if (await isAccepted(socket, signal)) return socket
  socket.destroy()
  const ours = cert === undefined ? `we have no certificate in ${pki.certFile}` : `it does not take ${pki.certFile}`
  throw new Error(`${ours} (ca_file and tls_allowed_dn_list in its libvirtd.conf say whose it takes)`)
}

/** A daemon may be content without a certificate of ours (tls_no_verify_certificate). */
async function ifThere(file: string): Promise<Buffer | undefined> {
  return await readFile(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
}

/** After the handshake the daemon says by one byte that it takes our certificate, or hangs up. */
async function isAccepted(socket: Duplex, signal: AbortSignal): Promise<boolean> {
  await reached(socket, 'readable', signal)
  const verdict = socket.read(1) as Buffer | null
  return verdict?.[0] === 1
}

/** The socket, once this has happened to it; destroyed when something else does. */
async function reached<S extends Duplex>(socket: S, event: string, signal: AbortSignal): Promise<S> {
  const scope = new AbortController()
  const until = { signal: AbortSignal.any([signal, scope.signal]) }
  const hungUp = async () => {
    await once(socket, 'close', until)
    throw new Error('it hung up')
  }
  try {
    await Promise.race([once(socket, event, until), hungUp()])
    return socket
  } catch (error) {
    // It may have more to say about its end.
    socket.on('error', () => {})
    socket.destroy()
    throw error
  } finally {
    scope.abort()
  }
}
