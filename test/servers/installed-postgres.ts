import { randomBytes } from 'node:crypto'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { freePorts } from '../../src/servers/free-ports.ts'
import type { PrivateServer, StartOptions } from '../../src/servers/private-server.ts'
import { firstExecutable, onPath, resolved } from '../../src/servers/programs.ts'
import { type Owner, ServerHome } from '../../src/servers/server-home.ts'
import { describePostgres } from './postgres-probe.ts'

const DEBIAN_VERSIONS = '/usr/lib/postgresql'
const START_TIMEOUT_MS = 60_000
const TRIES = 3

interface PostgresOptions extends StartOptions {
  /** As an operator runs it: what is committed is on the disk. */
  readonly durable?: boolean
}

/**
 * A private database from the installed programs, on a port of 127.0.0.1 alone, without a socket file.
 * @returns undefined when PostgreSQL's server is not installed
 * @throws when it is, and does not start
 */
export async function startInstalledPostgres(options: PostgresOptions = {}): Promise<PrivateServer | undefined> {
  const folder = await findPrograms()
  if (folder === undefined) {
    options.tell?.('PostgreSQL is not installed (no initdb beside a postgres)')
    return undefined
  }
  for (let attempt = 1; ; attempt++) {
    const home = await ServerHome.create('postgres', { owner: await ordinaryUser() })
    try {
      return await startIn(home, folder, options)
    } catch (error) {
      await home.close()
      if (attempt === TRIES || options.signal?.aborted) throw error
    }
  }
}

/** The folder that holds both programs: Debian keeps one per version off PATH, the highest is taken. */
async function findPrograms(): Promise<string | undefined> {
  const versions = await readdir(DEBIAN_VERSIONS).catch(() => [])
  const folders = versions
    .toSorted((a, b) => Number(b) - Number(a))
    .map((version) => join(DEBIAN_VERSIONS, version, 'bin'))
  const initdbOnPath = await resolved(await onPath('initdb'))
  if (initdbOnPath !== undefined) folders.push(dirname(initdbOnPath))
  for (const folder of folders) {
    const found = await Promise.all(['initdb', 'postgres'].map((program) => firstExecutable([join(folder, program)])))
    if (!found.includes(undefined)) return folder
  }
  return undefined
}

/** PostgreSQL refuses to run as root: its own user does it then, or one who owns nothing. */
async function ordinaryUser(): Promise<Owner | undefined> {
  if (process.getuid?.() !== 0) return undefined
  const users = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'))
  const user = users.find(([name]) => name === 'postgres') ?? users.find(([name]) => name === 'nobody')
  return user === undefined ? undefined : { uid: Number(user[2]), gid: Number(user[3]) }
}

async function startIn(
  home: ServerHome,
  folder: string,
  { signal, durable = false }: PostgresOptions,
): Promise<PrivateServer> {
  const data = home.path('data')
  const password = randomBytes(16).toString('hex')
  const passwordFile = home.path('password')
  await writeFile(passwordFile, password)
  await home.run('initdb', join(folder, 'initdb'), [
    ...['--pgdata', data, '--username', 'sevbus', '--pwfile', passwordFile, '--auth', 'scram-sha-256'],
    ...['--encoding', 'UTF8', '--no-locale', '--no-sync'],
  ])

  const [port] = (await freePorts(1)) as [number]
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 300, // worker processes with a pool each, several test files at once
    fsync: durable ? 'on' : 'off', // else the data does not outlive the run
  }
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  // SIGINT is the fast shutdown: SIGTERM would wait for every client to leave.
  const server = home.start('postgres', join(folder, 'postgres'), ['-D', data, ...args], { endSignal: 'SIGINT' })
  const url = `postgres://sevbus:${password}@127.0.0.1:${port}/postgres`
  const name = await home.until('postgres', server, () => describePostgres(url), {
    timeoutMs: START_TIMEOUT_MS,
    signal,
  })
  return { url, description: `${name}, started privately from ${folder}`, close: () => home.close() }
}
