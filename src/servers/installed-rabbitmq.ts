import { execFile as execFileCallback } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { probeBroker } from './amqp-probe.ts'
import { freePorts } from './free-ports.ts'
import type { PrivateServer, StartOptions } from './private-server.ts'
import { firstExecutable, onPath, resolved } from './programs.ts'
import { ServerHome } from './server-home.ts'

const execFile = promisify(execFileCallback)

const START_TIMEOUT_MS = 60_000 // 6 s on two idle cores; a busy machine takes several times that
const TRIES = 3

export interface InstalledRabbitMqOptions extends StartOptions {
  /** Lines of rabbitmq.conf: listeners for TLS, users, limits. */
  readonly conf?: string
  /** Plugins to enable, of those that come with the program. */
  readonly plugins?: readonly string[]
}

export interface InstalledRabbitMq extends PrivateServer {
  /**
   * Ends it by the signal, SIGKILL being a crash, and starts it again: same ports, same data. Resolves when it answers.
   * @throws when it does not start again
   */
  restart(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>
  /** Runs rabbitmqctl on it. @returns what it prints @throws with what it prints when it fails */
  control(...args: readonly string[]): Promise<string>
  /** What `control` runs: plain values, for another process to run it, too. */
  readonly rabbitmqctl: Rabbitmqctl
}

/** The program, and the environment in which it finds its broker. */
export interface Rabbitmqctl {
  readonly program: string
  readonly env: Readonly<Record<string, string>>
}

/** @returns what it prints @throws with what it prints when it fails */
export async function runRabbitmqctl({ program, env }: Rabbitmqctl, args: readonly string[]): Promise<string> {
  return (await execFile(program, args, { env })).stdout
}

interface Programs {
  readonly server: string
  readonly epmd: string
}

/**
 * A private broker from the installed program, beside any that already runs: own node name, ports, cookie, data folder
 * and own epmd, all on 127.0.0.1.
 * @returns undefined when RabbitMQ is not installed
 * @throws when it is, and does not start
 */
export async function startInstalledRabbitMq(
  options: InstalledRabbitMqOptions = {},
): Promise<InstalledRabbitMq | undefined> {
  const programs = await findPrograms(options)
  if (programs === undefined) return undefined
  for (let attempt = 1; ; attempt++) {
    const home = await ServerHome.create('rabbitmq')
    try {
      return await startIn(home, programs, options)
    } catch (error) {
      await home.close(0)
      if (attempt === TRIES || options.signal?.aborted) throw error
    }
  }
}

async function findPrograms({ tell }: StartOptions): Promise<Programs | undefined> {
  // Debian's wrapper on PATH refuses anyone but root and its own user; the script behind it does not.
  const server = (await firstExecutable(['/usr/lib/rabbitmq/bin/rabbitmq-server'])) ?? (await onPath('rabbitmq-server'))
  if (server === undefined) {
    tell?.('RabbitMQ is not installed (no rabbitmq-server)')
    return undefined
  }
  const erl = await resolved(await onPath('erl'))
  const epmd = (await onPath('epmd')) ?? (erl && (await firstExecutable([join(dirname(erl), 'epmd')])))
  if (epmd === undefined) {
    tell?.(`RabbitMQ is installed (${server}), but Erlang's epmd is not on PATH`)
    return undefined
  }
  return { server, epmd }
}

async function startIn(
  home: ServerHome,
  programs: Programs,
  options: InstalledRabbitMqOptions,
): Promise<InstalledRabbitMq> {
  const { signal } = options
  const [port, distPort, epmdPort] = (await freePorts(3)) as [number, number, number]
  const env = await environment(home, { port, distPort, epmdPort }, options)

  // Started by us and in the foreground: the one that Erlang would start itself outlives the broker.
  const epmd = home.start('epmd', programs.epmd, ['-port', String(epmdPort), '-address', '127.0.0.1'], { env })
  await home.until('epmd', epmd, () => answers(epmdPort), { timeoutMs: START_TIMEOUT_MS, signal })

  const url = `amqp://guest:guest@127.0.0.1:${port}`
  let server = home.start('rabbitmq', programs.server, [], { env })
  const untilReady = (abort?: AbortSignal) =>
    home.until('rabbitmq', server, () => probeBroker(url), { timeoutMs: START_TIMEOUT_MS, signal: abort })
  const broker = await untilReady(signal)
  const rabbitmqctl: Rabbitmqctl = {
    program: join(dirname(programs.server), 'rabbitmqctl'),
    env: { PATH: process.env.PATH ?? '', LANG: 'C.UTF-8', HOME: home.folder, ...env },
  }
  return {
    url,
    description: `${broker.description}, started privately from ${programs.server}`,
    close: () => home.close(),
    async restart(by) {
      await home.end(server, by)
      server = home.start('rabbitmq', programs.server, [], { env })
      await untilReady()
    },
    control: (...args) => runRabbitmqctl(rabbitmqctl, args),
    rabbitmqctl,
  }
}

interface Ports {
  readonly port: number
  readonly distPort: number
  readonly epmdPort: number
}

/** Every file and port that the broker would else share with the machine's own. */
async function environment(
  home: ServerHome,
  { port, distPort, epmdPort }: Ports,
  { conf = '', plugins = [] }: InstalledRabbitMqOptions,
): Promise<Record<string, string>> {
  await mkdir(home.path('conf.d'))
  await writeFile(home.path('rabbitmq-env.conf'), '')
  await writeFile(home.path('rabbitmq.conf'), conf)
  await writeFile(home.path('advanced.config'), '[].\n')
  await writeFile(home.path('enabled_plugins'), `[${plugins.join(',')}].\n`)
  return {
    RABBITMQ_NODENAME: `sevbus${port}@localhost`,
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_DIST_PORT: String(distPort),
    ERL_EPMD_PORT: String(epmdPort),
    ERL_EPMD_ADDRESS: '127.0.0.1',
    // RABBITMQ_NODE_IP_ADDRESS is for clients only: without this the distribution port listens on every address.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
    RABBITMQ_MNESIA_BASE: home.path('mnesia'),
    RABBITMQ_LOG_BASE: home.path('log'),
    RABBITMQ_CONF_ENV_FILE: home.path('rabbitmq-env.conf'),
    RABBITMQ_CONFIG_FILE: home.path('rabbitmq.conf'),
    RABBITMQ_CONFIG_FILES: home.path('conf.d'),
    RABBITMQ_ADVANCED_CONFIG_FILE: home.path('advanced.config'),
    RABBITMQ_ENABLED_PLUGINS_FILE: home.path('enabled_plugins'),
    RABBITMQ_PLUGINS_EXPAND_DIR: home.path('plugins-expand'),
    RABBITMQ_PID_FILE: home.path('rabbitmq.pid'),
  }
}

async function answers(port: number): Promise<true | undefined> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return undefined
  } finally {
    socket.destroy()
  }
}
