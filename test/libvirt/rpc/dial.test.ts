import { once } from 'node:events'
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PkiFiles } from '../../../src/compute/libvirt/rpc/dial.ts'
import { Libvirt } from '../../../src/compute/libvirt/rpc/libvirt.ts'
import { Authority, type Identity } from '../../support/certificates.ts'
import { FakeDaemon } from './fake-daemon.ts'

const ours = new Authority('our authority')
const others = new Authority('another authority')
const cleanups: (() => unknown)[] = []
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sevbus-libvirt-tls-'))
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function files(name: string, authority: Authority, identity?: Identity): Promise<PkiFiles> {
  const path = (kind: string) => join(folder, `${name}-${kind}.pem`)
  await writeFile(path('ca'), authority.certificate)
  if (identity) await writeFile(path('cert'), identity.certificate)
  if (identity) await writeFile(path('key'), identity.key)
  return { caFile: path('ca'), certFile: path('cert'), keyFile: path('key') }
}

/** A daemon behind TLS that judges clients as libvirtd does: by one byte after the handshake, or by hanging up. */
async function tlsDaemon(options: TlsOptions = {}): Promise<number> {
  const daemon = new FakeDaemon()
  daemon.answers = { connectGetHostname: () => ({ hostname: 'behind TLS' }) }
  const { certificate: cert, key } = ours.issue({ name: 'localhost', hosts: ['localhost'] })
  const tls = { cert, key, ca: ours.certificate, requestCert: true, rejectUnauthorized: false, ...options }
  const server = createTlsServer(tls, (socket) => {
    socket.on('error', () => {})
    if (!socket.authorized) return socket.end()
    socket.write(Buffer.from([1]))
    daemon.serve(socket)
  })
  server.on('tlsClientError', () => {})
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(
    () => daemon.hangUp(),
    () => server.close(),
  )
  return (server.address() as AddressInfo).port
}

async function hostnameAt(uri: string, pki?: PkiFiles): Promise<string> {
  const libvirt = new Libvirt({ uri, onTrouble: () => {}, ...(pki && { pki }) })
  cleanups.push(() => libvirt.close())
  return await libvirt.connectGetHostname().catch((error: Error) => error.message)
}

describe('the way to a daemon', () => {
  it('is TCP', async () => {
    const daemon = new FakeDaemon()
    daemon.answers = { connectGetHostname: () => ({ hostname: 'over TCP' }) }
    const server = createServer((socket) => daemon.serve(socket)).listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => server.close())

    expect(await hostnameAt(`qemu+tcp://127.0.0.1:${(server.address() as AddressInfo).port}/system`)).toBe('over TCP')
  })

  it('is TLS, where each side shows whose it is', async () => {
    const port = await tlsDaemon()
    const pki = await files('worker', ours, ours.issue({ name: 'worker' }))

    expect(await hostnameAt(`qemu+tls://localhost:${port}/system`, pki)).toBe('behind TLS')
  })

  it('ends where the daemon does not take our certificate, or we have none', async () => {
    const port = await tlsDaemon()
    const stranger = await files('stranger', ours, others.issue({ name: 'worker' }))
    const nobody = await files('nobody', ours)

    expect(await hostnameAt(`qemu+tls://localhost:${port}/system`, stranger)).toContain(
      `it does not take ${stranger.certFile} (ca_file and tls_allowed_dn_list`,
    )
    expect(await hostnameAt(`qemu+tls://localhost:${port}/system`, nobody)).toContain(
      `we have no certificate in ${nobody.certFile}`,
    )
  })

  it('ends at a certificate of another authority or name, unless the URI says not to look', async () => {
    const { certificate: cert, key } = others.issue({ name: 'localhost', hosts: ['localhost'] })
    const stranger = await tlsDaemon({ cert, key })
    const { certificate, key: theirs } = ours.issue({ name: 'elsewhere', hosts: ['elsewhere'] })
    const elsewhere = await tlsDaemon({ cert: certificate, key: theirs })
    const pki = await files('worker', ours, ours.issue({ name: 'worker' }))

    expect(await hostnameAt(`qemu+tls://localhost:${stranger}/system`, pki)).toContain('unable to verify')
    expect(await hostnameAt(`qemu+tls://localhost:${elsewhere}/system`, pki)).toContain("not in the cert's altnames")
    expect(await hostnameAt(`qemu+tls://localhost:${elsewhere}/system?no_verify=1`, pki)).toBe('behind TLS')
  })

  it('needs the authority to believe', async () => {
    const port = await tlsDaemon()
    const pki = { caFile: join(folder, 'nothing.pem'), certFile: '/nowhere', keyFile: '/nowhere' }

    expect(await hostnameAt(`qemu+tls://localhost:${port}/system`, pki)).toContain(`ENOENT: no such file or directory`)
  })

  it('is the first socket that answers', async () => {
    await using daemon = await new FakeDaemon().listen()
    daemon.answers = { connectGetHostname: () => ({ hostname: 'the second' }) }
    const sockets = { system: folder, session: folder }
    await symlink(daemon.path, join(folder, 'libvirt-sock'))
    const libvirt = new Libvirt({ uri: 'qemu:///system', onTrouble: () => {}, sockets })
    cleanups.push(() => libvirt.close())

    expect(await libvirt.connectGetHostname()).toBe('the second')
  })
})
