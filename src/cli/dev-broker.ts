import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { InvalidConfiguration } from '../errors.ts'
import { probeBroker } from '../servers/amqp-probe.ts'
import { startDockerRabbitMq } from '../servers/docker-rabbitmq.ts'
import { startInstalledRabbitMq } from '../servers/installed-rabbitmq.ts'
import type { PrivateServer } from '../servers/private-server.ts'
import { note } from './output.ts'

const run = promisify(execFile)
const RUN_MS = 20_000

/** Where RabbitMQ listens when nobody changed it, with the user it has then. */
const USUAL_BROKER = 'amqp://guest:guest@127.0.0.1:5672/'
/** A broker that we find belongs to somebody: we stay in a vhost of our own. */
const OWN_VHOST = 'sevbus-dev'

/** With `isNew` it knows nothing of what an earlier one was told. */
export type DevBroker = PrivateServer & { readonly isNew?: boolean; readonly isGiven?: boolean }

/**
 * A RabbitMQ for `sevbus dev`: the one given, one found running (in a vhost of our own), or a private one from a Docker
 * engine or the installed program.
 *
 * @throws InvalidConfiguration saying how to get one
 */
export async function devBroker(given: string | undefined, signal: AbortSignal): Promise<DevBroker> {
  const tell = (line: string) => note(`  ${line}`)
  if (given !== undefined)
    return { url: given, description: 'the RabbitMQ given', close: async () => {}, isGiven: true }
  const found = await foundBroker(tell, signal)
  if (found !== undefined) return found
  note('no usable RabbitMQ is running here; starting a private one …')
  const started = (await startDockerRabbitMq({ tell, signal })) ?? (await startInstalledRabbitMq({ tell, signal }))
  if (started !== undefined) return { ...started, isNew: true }
  throw new InvalidConfiguration('sevbus dev needs a RabbitMQ, and there is none to use or to start', {
    fix: 'install it (Debian, Ubuntu: apt-get install rabbitmq-server), start a Docker engine, or give one with --amqp-url; to see everything without any: sevbus demo',
  })
}

async function foundBroker(tell: (line: string) => void, signal: AbortSignal): Promise<PrivateServer | undefined> {
  const broker = await probeBroker(USUAL_BROKER, signal)
  if (broker === undefined) return undefined
  const problem = await makeVhost().catch((error: Error) => error.message)
  if (problem === undefined) {
    const url = new URL(USUAL_BROKER)
    url.pathname = `/${OWN_VHOST}`
    return {
      url: url.href,
      description: `${broker.description} found running, vhost ${OWN_VHOST}`,
      close: async () => {},
    }
  }
  tell(`${broker.description} runs here, but its vhost ${OWN_VHOST} cannot be made (${problem.split('\n')[0]})`)
  return undefined
}

/** By its management API, else by its control program; making it again is nothing. */
async function makeVhost(): Promise<string | undefined> {
  const headers = {
    authorization: `Basic ${Buffer.from('guest:guest').toString('base64')}`,
    'content-type': 'application/json',
  }
  const put = (path: string, body: object) =>
    fetch(`http://127.0.0.1:15672/api/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })
  try {
    const made = await put(`vhosts/${OWN_VHOST}`, {})
    const all = { configure: '.*', write: '.*', read: '.*' }
    const permitted = made.ok && (await put(`permissions/${OWN_VHOST}/guest`, all)).ok
    if (permitted) return undefined
  } catch {
    // No management plugin: the control program is the other way.
  }
  const options = { timeout: RUN_MS }
  const { stdout } = await run('rabbitmqctl', ['-q', 'list_vhosts', '--no-table-headers'], options)
  if (!stdout.split('\n').includes(OWN_VHOST)) await run('rabbitmqctl', ['-q', 'add_vhost', OWN_VHOST], options)
  await run('rabbitmqctl', ['-q', 'set_permissions', '-p', OWN_VHOST, 'guest', '.*', '.*', '.*'], options)
  return undefined
}
