import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, inject, it, vi } from 'vitest'
import { startDockerRabbitMq } from '../../src/servers/docker-rabbitmq.ts'
import { RABBITMQ_IMAGE } from '../../src/servers/images.ts'
import './provided-context.ts'

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sevbus-docker-'))
})

afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(folder, { recursive: true, force: true })
})

interface Engine {
  readonly answers?: boolean
  readonly hasImage?: boolean
  readonly pulls?: boolean
  /** Where the container's broker is published. */
  readonly published?: string
  readonly running?: boolean
}

/** A `docker` command on PATH that keeps a diary instead of running anything. */
async function anEngine({ answers = true, hasImage = true, pulls = false, published = '', running = true }: Engine) {
  const exit = (yes: boolean) => (yes ? 'exit 0' : 'exit 1')
  const script = `#!/bin/sh
echo "$*" >> ${folder}/diary
case "$1" in
  version) ${exit(answers)} ;;
  image) ${exit(hasImage)} ;;
  pull) ${exit(pulls)} ;;
  run) echo cafe ;;
  port) echo ${published} ;;
  inspect) echo ${running} ;;
esac
`
  await writeFile(join(folder, 'docker'), script)
  await chmod(join(folder, 'docker'), 0o755)
  vi.stubEnv('PATH', `${folder}${delimiter}${process.env.PATH}`)
  vi.stubEnv('DOCKER_HOST', undefined)
}

async function diary(): Promise<readonly string[]> {
  const lines = (await readFile(join(folder, 'diary'), 'utf8').catch(() => '')).trimEnd().split('\n')
  return lines.map((line) => line.split(' ')[0] ?? '')
}

async function startAndListen() {
  const told: string[] = []
  const server = await startDockerRabbitMq({ tell: (line) => told.push(line) })
  return { server, told }
}

describe('a private RabbitMQ from a Docker engine', () => {
  it('is a container of the pinned image, removed when closed', async () => {
    const { host } = new URL(inject('amqpUrl'))
    await anEngine({ published: host })

    const { server } = await startAndListen()
    await Promise.all([server?.close(), server?.close()])

    expect(server?.url).toBe(`amqp://guest:guest@${host}`)
    expect(server?.description).toMatch(new RegExp(`^RabbitMQ .*, a container of ${RABBITMQ_IMAGE}$`))
    expect(await diary()).toEqual(['version', 'image', 'run', 'port', 'rm'])
  })

  it('is pulled when the engine does not have it, and says so', async () => {
    await anEngine({ hasImage: false, pulls: true, published: new URL(inject('amqpUrl')).host })

    const { server, told } = await startAndListen()
    await server?.close()

    expect(told).toEqual([`the Docker engine pulls ${RABBITMQ_IMAGE}`])
    expect(await diary()).toEqual(['version', 'image', 'pull', 'run', 'port', 'rm'])
  })

  it.each([
    ['no engine answers', { answers: false }, 'no Docker engine answers'],
    ['the image cannot be pulled', { hasImage: false }, `it has no ${RABBITMQ_IMAGE} and cannot pull it`],
  ])('is not to be had, with a reason, when %s', async (_name, engine, reason) => {
    await anEngine(engine)

    const { server, told } = await startAndListen()

    expect(server).toBeUndefined()
    expect(told.at(-1)).toContain(reason)
    expect(await diary()).not.toContain('run')
  })

  it('is not looked for on another machine, whose loopback is not ours', async () => {
    await anEngine({})
    vi.stubEnv('DOCKER_HOST', 'tcp://build-server:2376')

    const { server, told } = await startAndListen()

    expect(server).toBeUndefined()
    expect(told).toEqual(['the Docker engine is on another machine (DOCKER_HOST)'])
  })

  it('is removed when it ends while starting', async () => {
    await anEngine({ published: '127.0.0.1:1', running: false })

    await expect(startDockerRabbitMq()).rejects.toThrow('ended while starting')

    expect((await diary()).at(-1)).toBe('rm')
  })

  it('is removed when its start is aborted', async () => {
    await anEngine({ published: '127.0.0.1:1' })
    const stop = new AbortController()
    const started = startDockerRabbitMq({ signal: stop.signal })
    started.catch(() => undefined)
    await vi.waitFor(async () => expect(await diary()).toContain('inspect'))

    stop.abort(new Error('stopped'))

    await expect(started).rejects.toThrow('stopped')
    expect((await diary()).at(-1)).toBe('rm')
  })
})
