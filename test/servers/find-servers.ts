import type { PrivateServer, StartOptions } from '../../src/servers/private-server.ts'

/** The two servers that the tests cannot do without. */
export const SERVER_KINDS = ['rabbitmq', 'postgres'] as const
export type ServerKind = (typeof SERVER_KINDS)[number]
export type Servers = Readonly<Record<ServerKind, PrivateServer>>

/**
 * What some tests want besides: oslo.messaging for the Python peers, libvirt's tools for its opinion on our documents, its
 * daemon and QEMU for real guests, a compiler for the emulated secure processor, the
 * programs that make disks.
 */
export const EXTRA_KINDS = ['oslo', 'libvirt', 'hypervisor', 'compiler', 'disks'] as const
export type ExtraKind = (typeof EXTRA_KINDS)[number]

/** What the tests may install. */
export const DEBIAN_PACKAGES: Readonly<Record<ServerKind | ExtraKind, readonly string[]>> = {
  rabbitmq: ['rabbitmq-server'],
  postgres: ['postgresql'],
  oslo: ['python3-oslo.messaging'],
  libvirt: ['libvirt-clients', 'libxml2-utils'],
  hypervisor: [
    ...['libvirt-daemon-system', 'libvirt-daemon-driver-qemu', 'libvirt-clients'],
    ...['qemu-system-x86', 'qemu-utils', 'ovmf', 'tini', 'iproute2'],
  ],
  compiler: ['gcc', 'libc6-dev'],
  disks: ['qemu-utils', 'genisoimage', 'xorriso', 'mtools', 'dosfstools'],
}
export type Installable = ServerKind | ExtraKind

/** Undefined from a way: it does not exist on this machine. */
type Way = (kind: ServerKind, options: StartOptions) => Promise<PrivateServer | undefined>

/** The machine, as far as the finder looks at it. */
export interface Machine {
  /** The server that the environment names. @throws when it does not answer: who names a server means that one */
  readonly given: Way
  readonly docker: Way
  readonly installed: Way
  /** Those of the extras that it does not have. */
  readonly missingExtras: () => Promise<readonly ExtraKind[]>
  /** Undefined where nothing may be installed; else installs the packages of these. */
  readonly install: ((what: readonly Installable[], tell?: (line: string) => void) => Promise<void>) | undefined
}

/** Neither server could be had for the tests; the message says what to do. */
export class ServersMissing extends Error {
  override readonly name = 'ServersMissing'
}

/**
 * A server of each kind, each by the first way that works: named by the environment, from a Docker engine, from the
 * programs on the machine, from the programs after one installation of what is missing, which brings the extras, too.
 * @throws ServersMissing, having ended what it started
 */
export async function findServers(machine: Machine, options: StartOptions = {}): Promise<Servers> {
  const found: Partial<Record<ServerKind, PrivateServer>> = {}
  const look = async (kind: ServerKind, ways: readonly Way[]) => {
    const server = await firstThatStarts(kind, ways, options)
    if (server) found[kind] = server
  }
  const missing = () => SERVER_KINDS.filter((kind) => found[kind] === undefined)

  try {
    await allSettledOrThrow(SERVER_KINDS.map((kind) => look(kind, [machine.given, machine.docker, machine.installed])))
    await installOnce(machine, missing(), options.tell)
    await allSettledOrThrow(missing().map((kind) => look(kind, [machine.installed])))
    const { rabbitmq, postgres } = found
    if (!rabbitmq || !postgres) throw new ServersMissing(howToGet(missing()))
    return { rabbitmq, postgres }
  } catch (error) {
    await Promise.all(Object.values(found).map((server) => server.close()))
    throw error
  }
}

/** What a distribution does not have costs only the tests that need it. */
async function installOnce(
  { install, missingExtras }: Machine,
  servers: readonly ServerKind[],
  tell?: StartOptions['tell'],
) {
  if (install === undefined) return
  const attempt = async (kinds: readonly Installable[]) => {
    if (kinds.length === 0) return true
    const error = await install(kinds, tell).then(() => undefined, asError)
    if (error !== undefined) tell?.(error.message)
    return error === undefined
  }
  const extras = await missingExtras()
  if ((await attempt([...servers, ...extras])) || extras.length === 0) return
  // One that is not to be had must not keep the others away.
  await attempt(servers)
  if (extras.length + servers.length > 1) for (const extra of extras) await attempt([extra])
}

function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown))
}

async function firstThatStarts(kind: ServerKind, ways: readonly Way[], options: StartOptions) {
  for (const way of ways) {
    const server = await way(kind, options)
    if (server) return server
  }
  return undefined
}

/** Waits for all, so that nothing is still starting when the first failure is thrown. */
async function allSettledOrThrow(starts: readonly Promise<void>[]): Promise<void> {
  const failure = (await Promise.allSettled(starts)).find((result) => result.status === 'rejected')
  if (failure) throw failure.reason
}

const NEEDS = {
  rabbitmq: { name: 'RabbitMQ', variable: 'SEVBUS_TEST_AMQP_URL', example: 'amqp://guest:guest@127.0.0.1:5672' },
  postgres: {
    name: 'PostgreSQL',
    variable: 'SEVBUS_TEST_DATABASE_URL',
    example: 'postgres://user:password@127.0.0.1:5432/postgres',
  },
} as const

function howToGet(kinds: readonly ServerKind[]): string {
  const names = kinds.map((kind) => NEEDS[kind].name).join(' and ')
  const variables = kinds.map((kind) => `    ${NEEDS[kind].variable}=${NEEDS[kind].example}`)
  return [
    `The tests need a real ${names}, and this machine offers none. One of these is enough:`,
    '  - a Docker engine that this user may use and that can pull images (https://docs.docker.com/engine/install/)',
    `  - the programs: sudo apt-get install ${kinds.flatMap((kind) => DEBIAN_PACKAGES[kind]).join(' ')}  (as root on Debian or Ubuntu the tests do this themselves)`,
    '  - a server that runs somewhere, named in the environment:',
    ...variables,
  ].join('\n')
}
