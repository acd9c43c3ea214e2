import { randomUUID } from 'node:crypto'
import { PostgreSqlContainer } from '@testcontainers/postgresql'
import { RabbitMQContainer } from '@testcontainers/rabbitmq'
import { type ContainerRuntimeClient, getContainerRuntimeClient, ImageName } from 'testcontainers'
import { probeBroker } from '../../src/servers/amqp-probe.ts'
import { POSTGRES_IMAGE, RABBITMQ_IMAGE } from '../../src/servers/images.ts'
import type { PrivateServer, StartOptions } from '../../src/servers/private-server.ts'
import { onPath } from '../../src/servers/programs.ts'
import { startWatchdog } from '../../src/servers/watchdog.ts'
import type { ServerKind } from './find-servers.ts'
import { describePostgres } from './postgres-probe.ts'

const PULL_TIMEOUT_MS = 300_000
/** A busy machine needs more than the half minute that testcontainers gives. */
const START_TIMEOUT_MS = 180_000
const IMAGES = { rabbitmq: RABBITMQ_IMAGE, postgres: POSTGRES_IMAGE } as const
const NAMES = { rabbitmq: 'RabbitMQ', postgres: 'PostgreSQL' } as const

interface Container {
  stop(options?: { timeout: number }): Promise<unknown>
}

/**
 * A server in a container of the pinned image.
 * @returns undefined when no engine answers; and, having said so, when one does but cannot provide the image or start
 * the container: the machine may have another way
 */
export async function startContainer(kind: ServerKind, { tell }: StartOptions): Promise<PrivateServer | undefined> {
  const image = IMAGES[kind]
  // The reaper is one more image to pull. The watchdog does its work wherever there is a docker command.
  if (await onPath('docker')) process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true'
  const client = await getContainerRuntimeClient().catch(() => undefined)
  if (client === undefined) return undefined
  try {
    await provide(image, client, tell)
    return await (kind === 'rabbitmq' ? startRabbitMq() : startPostgres())
  } catch (error) {
    tell?.(`${NAMES[kind]}: a Docker engine answers, but gives no ${image}: ${firstLine(error)}`)
    return undefined
  }
}

async function provide(image: string, client: ContainerRuntimeClient, tell: StartOptions['tell']): Promise<void> {
  const name = ImageName.fromString(image)
  if (await client.image.exists(name)) return
  tell?.(`the Docker engine pulls ${image}`)
  await withTimeout(client.image.pull(name))
}

async function startRabbitMq(): Promise<PrivateServer> {
  const watched = watch()
  const container = await new RabbitMQContainer(RABBITMQ_IMAGE)
    .withLabels(watched.labels)
    .withStartupTimeout(START_TIMEOUT_MS)
    .start()
  const url = container.getAmqpUrl().replace('amqp://', 'amqp://guest:guest@')
  return privateServer(container, watched, url, RABBITMQ_IMAGE, (await probeBroker(url))?.description)
}

async function startPostgres(): Promise<PrivateServer> {
  const watched = watch()
  const container = await new PostgreSqlContainer(POSTGRES_IMAGE)
    .withCommand(['postgres', '-c', 'max_connections=300', '-c', 'fsync=off'])
    .withLabels(watched.labels)
    .withStartupTimeout(START_TIMEOUT_MS)
    .start()
  const url = container.getConnectionUri()
  return privateServer(container, watched, url, POSTGRES_IMAGE, await describePostgres(url))
}

function watch() {
  const value = randomUUID()
  const watchdog = startWatchdog()
  watchdog.watchContainers(`sevbus.private=${value}`)
  return { watchdog, labels: { 'sevbus.private': value } }
}

function privateServer(
  container: Container,
  { watchdog }: ReturnType<typeof watch>,
  url: string,
  image: string,
  name = 'a server',
): PrivateServer {
  let closed: Promise<void> | undefined
  const end = async () => {
    await container.stop({ timeout: 0 })
    await watchdog.dismiss()
  }
  return {
    url,
    description: `${name}, a container of ${image}`,
    close: () => {
      closed ??= end()
      return closed
    },
  }
}

async function withTimeout(pull: Promise<void>): Promise<void> {
  const timeout = new AbortController()
  const timer = setTimeout(() => timeout.abort(new Error('the pull takes too long')), PULL_TIMEOUT_MS)
  const late = new Promise<never>((_resolve, reject) => {
    timeout.signal.addEventListener('abort', () => reject(timeout.signal.reason))
  })
  try {
    await Promise.race([pull, late])
  } finally {
    clearTimeout(timer)
  }
}

function firstLine(error: unknown): string {
  return String(error instanceof Error ? error.message : error).split('\n', 1)[0] ?? ''
}
