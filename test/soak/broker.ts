import { randomUUID } from 'node:crypto'
import { RabbitMQContainer } from '@testcontainers/rabbitmq'
import { getContainerRuntimeClient } from 'testcontainers'
import { RABBITMQ_IMAGE } from '../../src/servers/images.ts'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import type { StartOptions } from '../../src/servers/private-server.ts'
import { onPath } from '../../src/servers/programs.ts'
import { startWatchdog } from '../../src/servers/watchdog.ts'

/** Seconds that a container has after SIGTERM. */
const TERM_SECONDS = 10

/** A broker of our own, which may be restarted. */
export interface SoakBroker extends AsyncDisposable {
  /** A container has another port after a restart. */
  readonly url: string
  readonly description: string
  /** Ends it by the signal and starts it again, with its data. Resolves when it answers. */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
}

/** @returns undefined when the machine has neither the program nor a Docker engine */
export async function startSoakBroker(options: StartOptions = {}): Promise<SoakBroker | undefined> {
  return (await fromProgram(options)) ?? (await fromDocker())
}

async function fromProgram(options: StartOptions): Promise<SoakBroker | undefined> {
  const broker = await startInstalledRabbitMq(options)
  return broker && { ...broker, [Symbol.asyncDispose]: () => broker.close() }
}

async function fromDocker(): Promise<SoakBroker | undefined> {
  if (await onPath('docker')) process.env.TESTCONTAINERS_RYUK_DISABLED ??= 'true'
  const client = await getContainerRuntimeClient().catch(() => undefined)
  if (client === undefined) return undefined
  const label = randomUUID()
  const watchdog = startWatchdog()
  watchdog.watchContainers(`sevbus.private=${label}`)
  const container = await new RabbitMQContainer(RABBITMQ_IMAGE).withLabels({ 'sevbus.private': label }).start()
  return {
    get url() {
      return container.getAmqpUrl().replace('amqp://', 'amqp://guest:guest@')
    },
    description: `a container of ${RABBITMQ_IMAGE}`,
    // Without time to end the engine kills it.
    restart: (signal) => container.restart({ timeout: signal === 'SIGTERM' ? TERM_SECONDS : 0 }),
    async [Symbol.asyncDispose]() {
      await container.stop({ timeout: 0 })
      await watchdog.dismiss()
    },
  }
}
