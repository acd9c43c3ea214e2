import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { networkInterfaces, tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, it, type TestContext, vi } from 'vitest'
import { probeBroker } from '../../src/servers/amqp-probe.ts'
import { freePorts } from '../../src/servers/free-ports.ts'
import { startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'
import type { PrivateServer, StartOptions } from '../../src/servers/private-server.ts'
import { ServerHome } from '../../src/servers/server-home.ts'
import { startInstalledPostgres } from './installed-postgres.ts'
import { notRun } from './not-run.ts'
import { describePostgres } from './postgres-probe.ts'

/** Stands in for the machine's temporary folder, so that what a server leaves can be told from others' things. */
let temporary: string

beforeEach(async () => {
  temporary = await mkdtemp(join(tmpdir(), 'sevbus-servers-'))
  await chmod(temporary, 0o755) // PostgreSQL's user has to pass through
})

afterEach(() => rm(temporary, { recursive: true, force: true }))

type Start = (options?: StartOptions) => Promise<PrivateServer | undefined>

async function startIn(folder: string, start: Start, options?: StartOptions): Promise<PrivateServer | undefined> {
  vi.stubEnv('TMPDIR', folder)
  try {
    return await start(options)
  } finally {
    vi.unstubAllEnvs()
  }
}

/** Every process whose command line or environment names the folder, epmd and the watchdog among them. */
async function processesIn(folder: string): Promise<readonly string[]> {
  const descriptions = process.platform === 'linux' ? await fromProc() : await fromPs()
  return descriptions.filter((description) => description.includes(folder))
}

/** A slim container has no ps. */
async function fromProc(): Promise<readonly string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  const read = (pid: string, file: string) => readFile(`/proc/${pid}/${file}`, 'utf8').catch(() => '')
  return Promise.all(pids.map(async (pid) => `${await read(pid, 'cmdline')} ${await read(pid, 'environ')}`))
}

async function fromPs(): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)('ps', ['axeww'], { maxBuffer: 64 << 20 })
  return stdout.split('\n')
}

function skip(context: TestContext, name: string, packages: string): never {
  const why = `${name} is not installed`
  notRun({ name: `a private ${name} from the programs on the machine`, why, how: `apt-get install ${packages}` })
  return context.skip(why)
}

describe('a private server from the programs on the machine', () => {
  it('is a RabbitMQ on loopback that leaves no process and no file', async (context) => {
    const server = await startIn(temporary, startInstalledRabbitMq)
    if (!server) return skip(context, 'RabbitMQ', 'rabbitmq-server')

    const broker = await probeBroker(server.url)
    const runningMeanwhile = await processesIn(temporary)
    const elsewhere = await probeBroker(server.url.replace('127.0.0.1', anOutsideAddress()))
    await Promise.all([server.close(), server.close()])

    expect(server.description).toContain(broker?.description)
    expect(runningMeanwhile.some((line) => line.includes('epmd'))).toBe(true)
    expect(elsewhere).toBeUndefined()
    expect(await processesIn(temporary)).toEqual([])
    expect(await readdir(temporary)).toEqual([])
  })

  it('is a PostgreSQL on loopback that asks for a password and leaves no process and no file', async (context) => {
    const server = await startIn(temporary, startInstalledPostgres)
    if (!server) return skip(context, 'PostgreSQL', 'postgresql')

    const wrongPassword = await describePostgres(server.url.replace(/:[0-9a-f]{32}@/, ':wrong@'))
    const elsewhere = await describePostgres(server.url.replace('127.0.0.1', anOutsideAddress()))
    await server.close()

    expect(wrongPassword).toBeUndefined()
    expect(elsewhere).toBeUndefined()
    expect(await processesIn(temporary)).toEqual([])
    expect(await readdir(temporary)).toEqual([])
  })

  it('is ended when its start is aborted', async (context) => {
    const stop = new AbortController()
    const started = startIn(temporary, startInstalledRabbitMq, { signal: stop.signal })
    started.catch(() => undefined)
    await vi.waitFor(async () => expect((await processesIn(temporary)).join()).toContain('rabbitmq'), 10_000)

    stop.abort(new Error('stopped'))

    if ((await started.catch((error: Error) => error.message)) === undefined)
      skip(context, 'RabbitMQ', 'rabbitmq-server')
    await expect(started).rejects.toThrow('stopped')
    expect(await processesIn(temporary)).toEqual([])
    expect(await readdir(temporary)).toEqual([])
  })
})

/** An address of this machine that is not loopback; where there is none, one that is nobody's. */
function anOutsideAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? [])
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.2'
}

describe('the home of a server', () => {
  it('is cleared by its watchdog when the process that opened it is killed', async () => {
    const opener = spawn(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), '--input-type=module', '--eval', OPENS_AND_WAITS],
      {
        env: { ...process.env, TMPDIR: temporary },
        cwd: import.meta.dirname,
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    await once(opener.stdout, 'data')
    expect((await processesIn(temporary)).some((line) => /sleep.1000/.test(line))).toBe(true)

    opener.kill('SIGKILL')

    await vi.waitFor(async () => expect(await processesIn(temporary)).toEqual([]), { timeout: 10_000, interval: 100 })
    expect((await readdir(temporary)).filter((name) => name.startsWith('sevbus-'))).toEqual([]) // tsx keeps a cache
  })

  it('shows what a program printed when it fails', async () => {
    const home = await ServerHome.create('test')
    const failing = home.run('failing', 'sh', ['-c', 'echo no space left; exit 3'])

    await expect(failing).rejects.toThrow('sh failed\nno space left')

    await home.close()
  })

  it('stops waiting for a program that ended', async () => {
    const home = await ServerHome.create('test')
    const child = home.start('early', 'sh', ['-c', 'echo port in use'])

    const ready = home.until('early', child, async () => undefined, { timeoutMs: 10_000 })

    await expect(ready).rejects.toThrow('early ended while starting\nport in use')
    await home.close()
  })

  it('kills what does not end when asked', async () => {
    const home = await ServerHome.create('test', { endGraceMs: 100 })
    const child = home.start('stubborn', 'sh', ['-c', 'trap "" TERM; echo ready; while :; do sleep 0.1; done'])
    await home.until('stubborn', child, async () => (await home.tail('stubborn')) || undefined, { timeoutMs: 10_000 })

    await home.close()

    await vi.waitFor(() => expect(child.signalCode).toBe('SIGKILL'))
  })
})

const OPENS_AND_WAITS = `
const { ServerHome } = await import('../../src/servers/server-home.ts')
const home = await ServerHome.create('test')
home.start('sleeper', 'sh', ['-c', 'sleep 1000 & wait'])
console.log('open')
setInterval(() => undefined, 1000)
`

describe('the probe of a broker', () => {
  it('has no answer where nobody listens', async () => {
    const [port] = await freePorts(1)

    expect(await probeBroker(`amqp://127.0.0.1:${port}`)).toBeUndefined()
  })

  it('has no answer where something else listens', async () => {
    const server = createServer((_request, response) => response.end('hello')).listen(0, '127.0.0.1')
    await once(server, 'listening')

    const broker = await probeBroker(`amqp://127.0.0.1:${(server.address() as AddressInfo).port}`)
    server.close()

    expect(broker).toBeUndefined()
  })
})
