import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { stringify } from 'smol-toml'
import { startLocalCloud } from '../compose/local-cloud.ts'
import { busNames } from '../compose/names.ts'
import { openTransport } from '../compose/open-transport.ts'
import { onTermination, serveUntil } from '../compose/process.ts'
import { closeInOrder } from '../compose/worker.ts'
import { type Config, loadConfig } from '../config.ts'
import { brokerOptions, DEFAULT_TRANSPORT_URL } from '../config-transport.ts'
import { openPglite } from '../database/pglite.ts'
import { InvalidConfiguration } from '../errors.ts'
import { createLogger } from '../logger.ts'
import { RpcClient } from '../rpc/client.ts'
import { brokerSettings, describeBroker } from '../rpc/drivers/broker-settings.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import type { Transport } from '../rpc/transport.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import { SAMPLE_FLAVORS, SAMPLE_IMAGES } from './catalogue.ts'
import { DEMO_HOSTS } from './demo/scenario.ts'
import { devBroker } from './dev-broker.ts'
import { EXIT } from './exit-codes.ts'
import { note } from './output.ts'
import { DEV_CONFIG, type GlobalOptions } from './session.ts'

export interface DevOptions extends GlobalOptions {
  readonly folder: string
  readonly amqpUrl?: string
}

/** A small cloud in this process over a real RabbitMQ, kept in a folder; other commands and Python peers can join. */
export async function dev(options: DevOptions): Promise<number> {
  const given = loadConfig({ file: options.config })
  const stop = onTermination(note)
  await mkdir(options.folder, { recursive: true })
  const database = await openPglite({
    folder: join(options.folder, 'database'),
    instead: 'give this one a folder of its own: --folder',
  })
  const opened: (() => Promise<void>)[] = [() => database.close()]
  try {
    const ownUrl = given.transport.url === DEFAULT_TRANSPORT_URL ? undefined : given.transport.url
    const broker = await devBroker(options.amqpUrl ?? ownUrl, stop)
    opened.unshift(() => broker.close())
    const config: Config = { ...given, transport: { ...given.transport, url: broker.url } }
    const logger = createLogger('dev', options.debug ? 'debug' : 'warn')
    const connect = async (who: string) => {
      const transport = openTransport(config, logger, `sevbus dev ${who}`)
      try {
        await transport.connect(stop)
        return transport
      } catch (error) {
        await transport.close()
        throw error
      }
    }
    if (broker.isGiven) await refuseForeignWorkers(config, connect)
    const folder = join(options.folder, 'hosts')
    const isBrokerNew = broker.isNew ?? false
    const cloud = await startLocalCloud({ config, database, connect, hosts: DEMO_HOSTS, folder, logger, isBrokerNew })
    opened.unshift(() => cloud.drain(0))
    const file = await writeJoinFile(options.folder, config)
    opened.unshift(() => rm(file, { force: true }))
    note(
      welcome(
        broker.description,
        file,
        options.folder,
        describeBroker(brokerSettings(brokerOptions(config.transport))),
      ),
    )
    for (const { worker, url } of cloud.monitors) note(`${worker}: ${url}/readyz and /metrics`)
    await serveUntil(stop, cloud, config.worker.shutdown_grace_seconds * 1000, logger)
    return EXIT.OK
  } catch (error) {
    // Told to stop while it still waited: that is an orderly end.
    if (stop.aborted) return EXIT.OK
    throw error
  } finally {
    await closeInOrder(opened)
  }
}

/** A broker that is given may be the one of a real cloud: our workers must not take its work. */
async function refuseForeignWorkers(config: Config, connect: (who: string) => Promise<Transport>): Promise<void> {
  const transport = await connect('look')
  const logger = createLogger('dev', 'silent')
  const client = new RpcClient({ transport, logger, names: busNames(config), timeoutMs: 2000 })
  try {
    await client.of(SchedulerApi).listHosts(newRequestContext(), {})
  } catch {
    return
  } finally {
    await client.close()
    await transport.close()
  }
  throw new InvalidConfiguration(
    'other workers are served on this broker and vhost; sevbus dev would take their work',
    {
      fix: 'give it a vhost of its own: rabbitmqctl add_vhost dev, and --amqp-url amqp://…/dev',
    },
  )
}

/** What the other commands read: the bus, and names for flavors and images. It may hold a password: for its owner only. */
async function writeJoinFile(folder: string, { transport, notifications }: Config): Promise<string> {
  const file = join(folder, 'sevbus.toml')
  const catalogue = { flavors: SAMPLE_FLAVORS, images: SAMPLE_IMAGES }
  // TOML has no null: absent means the same.
  const text = stringify(JSON.parse(JSON.stringify({ transport, notifications, ...catalogue }, dropNull)))
  await writeFile(file, text, { mode: 0o600 })
  return file
}

function dropNull(_key: string, value: unknown): unknown {
  return value === null ? undefined : value
}

function welcome(broker: string, file: string, folder: string, place: string): string {
  const join = file === DEV_CONFIG ? '' : `  export SEVBUS_CONFIG=${file}\n`
  return `
A conductor, a scheduler and ${DEMO_HOSTS.length} simulated hosts run on ${broker}.
Everything is kept in ${folder}; Ctrl-C ends it, the next start goes on.

In another terminal, in this folder:
${join}  sevbus hosts
  sevbus boot web --flavor m1.sev --image linux-uefi --count 3
  sevbus events

Names: flavors ${Object.keys(SAMPLE_FLAVORS).join(', ')};
       images ${Object.keys(SAMPLE_IMAGES).join(', ')}
Python and other peers find the bus at ${place} (its URL with password is in ${file}).
`
}
