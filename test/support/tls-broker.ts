import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePorts } from '../../src/servers/free-ports.ts'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import type { Identity } from './certificates.ts'

export interface TlsBroker extends AsyncDisposable {
  /** Without TLS. */
  readonly url: string
  readonly tlsPort: number
}

export interface TlsBrokerOptions {
  readonly identity: Identity
  /** In PEM: who may sign the certificates of clients. With it a client must show one, and may log in by it. */
  readonly clientAuthority?: string
  /** May do everything, and log in with a password that is their name, or a certificate for it. */
  readonly users?: readonly string[]
}

/** A RabbitMQ that speaks TLS on a port of its own. @returns undefined when RabbitMQ is not installed */
export async function startTlsBroker(options: TlsBrokerOptions): Promise<TlsBroker | undefined> {
  const { identity, clientAuthority, users = ['guest'] } = options
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-tls-'))
  const [tlsPort] = (await freePorts(1)) as [number]
  const file = async (name: string, content: string) => {
    await writeFile(join(folder, name), content)
    return join(folder, name)
  }
  const demanding = clientAuthority === undefined ? [] : demandsCertificate(await file('clients.pem', clientAuthority))
  const conf = [
    `load_definitions = ${await file('definitions.json', JSON.stringify(definitions(users)))}`,
    `listeners.ssl.1 = 127.0.0.1:${tlsPort}`,
    `ssl_options.certfile = ${await file('cert.pem', identity.certificate)}`,
    `ssl_options.keyfile = ${await file('key.pem', identity.key)}`,
    ...demanding,
  ]
  const plugins = ['rabbitmq_auth_mechanism_ssl']
  const broker = await startInstalledRabbitMq({ conf: `${conf.join('\n')}\n`, plugins })
  if (broker === undefined) {
    await rm(folder, { recursive: true })
    return undefined
  }
  return {
    url: broker.url,
    tlsPort,
    [Symbol.asyncDispose]: async () => {
      await broker.close()
      await rm(folder, { recursive: true })
    },
  }
}

function demandsCertificate(authorityFile: string): readonly string[] {
  return [
    `ssl_options.cacertfile = ${authorityFile}`,
    'ssl_options.verify = verify_peer',
    'ssl_options.fail_if_no_peer_cert = true',
    'auth_mechanisms.1 = PLAIN',
    'auth_mechanisms.2 = EXTERNAL',
    'ssl_cert_login_from = common_name',
  ]
}

function definitions(users: readonly string[]) {
  return {
    vhosts: [{ name: '/' }],
    users: users.map((name) => ({ name, password_hash: hashed(name), tags: [] })),
    permissions: users.map((user) => ({ user, vhost: '/', configure: '.*', write: '.*', read: '.*' })),
  }
}

/** As RabbitMQ keeps a password: four bytes of salt, and SHA-256 of both. */
function hashed(password: string): string {
  const salt = randomBytes(4)
  const hash = createHash('sha256').update(salt).update(password).digest()
  return Buffer.concat([salt, hash]).toString('base64')
}
