import { probeBroker } from '../../src/servers/amqp-probe.ts'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import type { PrivateServer, StartOptions } from '../../src/servers/private-server.ts'
import { onPath } from '../../src/servers/programs.ts'
import { startContainer } from './containers.ts'
import { installPackages, mayInstall } from './debian-packages.ts'
import { findDiskTools } from './disk-tools.ts'
import { EXTRA_KINDS, type ExtraKind, type Machine, type ServerKind } from './find-servers.ts'
import { missingHypervisorPrograms } from './hypervisor.ts'
import { startInstalledPostgres } from './installed-postgres.ts'
import { findLibvirtTools } from './libvirt-tools.ts'
import { describeOsloPeers } from './oslo-peers.ts'
import { describePostgres } from './postgres-probe.ts'

const VARIABLES = { rabbitmq: 'SEVBUS_TEST_AMQP_URL', postgres: 'SEVBUS_TEST_DATABASE_URL' } as const

/** The machine that the tests run on. */
export async function thisMachine(): Promise<Machine> {
  return {
    given,
    docker: startContainer,
    installed,
    missingExtras,
    install: (await mayInstall()) ? installPackages : undefined,
  }
}

async function missingExtras(): Promise<readonly ExtraKind[]> {
  const has = {
    oslo: (await describeOsloPeers()) !== undefined,
    libvirt: (await findLibvirtTools()) !== undefined,
    hypervisor: (await missingHypervisorPrograms()).length === 0,
    compiler: (await onPath('gcc')) !== undefined,
    disks: (await findDiskTools()) !== undefined,
  }
  return EXTRA_KINDS.filter((kind) => !has[kind])
}

async function given(kind: ServerKind): Promise<PrivateServer | undefined> {
  const variable = VARIABLES[kind]
  const url = process.env[variable]
  if (url === undefined || url === '') return undefined
  const description = kind === 'rabbitmq' ? (await probeBroker(url))?.description : await describePostgres(url)
  if (description === undefined) throw new Error(`the server named by ${variable} does not answer`)
  return { url, description: `${description}, given by ${variable}`, close: async () => undefined }
}

function installed(kind: ServerKind, options: StartOptions): Promise<PrivateServer | undefined> {
  return kind === 'rabbitmq' ? startInstalledRabbitMq(options) : startInstalledPostgres(options)
}
