import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { probeBroker } from './amqp-probe.ts'
import { RABBITMQ_IMAGE } from './images.ts'
import type { PrivateServer, StartOptions } from './private-server.ts'
import { startWatchdog } from './watchdog.ts'

const run = promisify(execFile)

const ENGINE_TIMEOUT_MS = 5_000
const PULL_TIMEOUT_MS = 300_000 // 100 MB; an engine that reaches no registry says so much sooner
const START_TIMEOUT_MS = 60_000

/**
 * A private broker in a container, published on a free port of 127.0.0.1.
 * @returns undefined when no Docker engine of this machine answers, or it has no such image and cannot pull it
 * @throws when the container does not start
 */
export async function startDockerRabbitMq(options: StartOptions = {}): Promise<PrivateServer | undefined> {
  const { signal, tell } = options
  const refusal = await whyNot(signal, tell)
  signal?.throwIfAborted()
  if (refusal !== undefined) {
    tell?.(refusal)
    return undefined
  }

  const watchdog = startWatchdog()
  const label = `sevbus.private=${randomUUID()}`
  watchdog.watchContainers(label)
  const id = await docker(['run', '--detach', '--rm', '--label', label, '--publish', '127.0.0.1::5672', RABBITMQ_IMAGE])
  let closed: Promise<void> | undefined
  const end = async () => {
    await docker(['rm', '--force', '--volumes', id])
    await watchdog.dismiss()
  }
  const close = () => {
    closed ??= end()
    return closed
  }
  try {
    const address = await docker(['port', id, '5672/tcp'], { signal })
    const url = `amqp://guest:guest@${address}`
    return { url, description: `${await untilReady(url, id, signal)}, a container of ${RABBITMQ_IMAGE}`, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function whyNot(signal?: AbortSignal, tell?: (line: string) => void): Promise<string | undefined> {
  if (/^(tcp|ssh):/.test(process.env.DOCKER_HOST ?? '')) return 'the Docker engine is on another machine (DOCKER_HOST)'
  try {
    await docker(['version', '--format', '{{.Server.Version}}'], { signal, timeoutMs: ENGINE_TIMEOUT_MS })
  } catch {
    return 'no Docker engine answers'
  }
  try {
    await docker(['image', 'inspect', '--format', '{{.Id}}', RABBITMQ_IMAGE], { signal })
    return undefined
  } catch {
    tell?.(`the Docker engine pulls ${RABBITMQ_IMAGE}`)
  }
  try {
    await docker(['pull', '--quiet', RABBITMQ_IMAGE], { signal, timeoutMs: PULL_TIMEOUT_MS })
    return undefined
  } catch {
    return `the Docker engine answers, but it has no ${RABBITMQ_IMAGE} and cannot pull it`
  }
}

async function untilReady(url: string, id: string, signal?: AbortSignal): Promise<string> {
  const deadline = Date.now() + START_TIMEOUT_MS
  for (;;) {
    signal?.throwIfAborted()
    const broker = await probeBroker(url, signal)
    if (broker) return broker.description
    const running = await docker(['inspect', '--format', '{{.State.Running}}', id]).catch(() => 'false')
    if (running !== 'true') throw new Error(`the container of ${RABBITMQ_IMAGE} ended while starting`)
    if (Date.now() > deadline) throw new Error(`the container of ${RABBITMQ_IMAGE} did not answer in time`)
    await sleep(250)
  }
}

interface CommandOptions {
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number
}

async function docker(args: readonly string[], { signal, timeoutMs = 60_000 }: CommandOptions = {}): Promise<string> {
  const { stdout } = await run('docker', args, { timeout: timeoutMs, ...(signal ? { signal } : {}) })
  return stdout.trim()
}
