import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { cpuMsOf, ownCpuMs } from './cpu.ts'
import type { Peer } from './peers.ts'

export interface Turn {
  readonly calls: number
  readonly inFlight: number
  readonly wallMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** CPU seconds for 10,000 calls: user and system, of both processes, the broker, and the database if there is one. */
  readonly cpu: {
    readonly client: number
    readonly server: number
    readonly broker: number
    readonly database: number
    readonly total: number
  }
}

export interface TurnOptions {
  readonly amqpUrl: string
  readonly queueType: 'quorum' | 'classic'
  readonly inFlight: number
  readonly calls: number
  readonly databaseUrl?: string | undefined
  /** For what the client keeps on disk. */
  readonly folder?: string
}

/** One peer, measured once: a server and a client in processes of their own, on a queue of their own. */
export async function runTurn(peer: Peer, options: TurnOptions): Promise<Turn> {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-bench-'))
  const { server, client } = bothSides(peer, { ...options, folder })
  const { amqpUrl, databaseUrl, inFlight } = options
  try {
    await server.says()
    client.begin()
    await client.says()
    const broker = brokerPid(amqpUrl)
    const cpuSeconds = async () => [
      ...[client.pid, server.pid, broker].map(cpuSecondsOf),
      databaseUrl === undefined ? 0 : ((await cpuMsOf(databaseUrl)) - ownCpuMs()) / 1000,
    ]
    const before = await cpuSeconds()
    client.tell()
    const result = (await client.says()) as Omit<Turn, 'cpu'>
    const after = await cpuSeconds()
    const per10k = (index: number) => (((after[index] as number) - (before[index] as number)) * 10_000) / result.calls
    const [clientCpu, serverCpu, brokerCpu, database] = [0, 1, 2, 3].map(per10k) as [number, number, number, number]
    const total = clientCpu + serverCpu + brokerCpu + database
    const cpu = { client: clientCpu, server: serverCpu, broker: brokerCpu, database, total }
    return { ...result, inFlight, cpu }
  } finally {
    await Promise.all([client.end(), server.end()])
    await rm(folder, { recursive: true })
  }
}

/** The server is started at once, the client by `begin`; it makes `calls` for each `tell`. */
export function bothSides(peer: Peer, { amqpUrl, queueType, inFlight, calls, databaseUrl, folder }: TurnOptions) {
  const env = {
    ...process.env,
    BENCH_AMQP_URL: amqpUrl,
    BENCH_QUEUE: `bench-${randomBytes(4).toString('hex')}`,
    BENCH_QUEUE_TYPE: queueType,
    ...(databaseUrl !== undefined && { BENCH_DATABASE_URL: databaseUrl }),
    ...(folder !== undefined && { BENCH_FOLDER: folder }),
    BENCH_OPTIONS: JSON.stringify(peer.options ?? {}),
  }
  const server = new PeerProcess(peer, ['server'], env)
  const client = new PeerProcess(peer, ['client', calls, inFlight, Math.ceil(calls / 3)].map(String), env)
  return { server, client }
}

class PeerProcess {
  readonly #command: readonly [string, ...string[]]
  readonly #env: NodeJS.ProcessEnv
  #child: ChildProcess | undefined
  #lines: AsyncIterator<string> | undefined

  constructor(peer: Peer, args: readonly string[], env: NodeJS.ProcessEnv) {
    const [program, ...rest] = peer.command
    this.#command = [program, ...rest, ...args]
    this.#env = env
    if (args[0] === 'server') this.begin()
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  begin(): void {
    const [program, ...args] = this.#command
    const child = spawn(program, args, { env: this.#env, stdio: ['pipe', 'pipe', 'inherit'], cwd: import.meta.dirname })
    this.#child = child
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  tell(): void {
    this.#child?.stdin?.write('\n')
  }

  /** The next line that is JSON. @throws when the process ends before */
  async says(): Promise<unknown> {
    for (;;) {
      const line = await this.#lines?.next()
      if (line === undefined || line.done) throw new Error(`${this.#command.join(' ')} ended without an answer`)
      if (line.value.startsWith('{')) return JSON.parse(line.value)
    }
  }

  async end(): Promise<void> {
    const child = this.#child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

/** User and system time. Source: proc(5), /proc/pid/stat, fields 14 and 15, in hundredths of a second. */
export function cpuSecondsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Erlang's process of the broker that listens on the port of the URL: a private one has the port in its environment. */
export function brokerPid(amqpUrl: string): number {
  const port = new URL(amqpUrl).port || '5672'
  const beams = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => commandOf(pid).includes('beam.smp'))
  const ours = beams.find((pid) => environmentOf(pid).includes(`RABBITMQ_NODE_PORT=${port}\0`))
  const pid = ours ?? (beams.length === 1 ? beams[0] : undefined)
  if (pid === undefined)
    throw new Error(`the broker on port ${port} is not a process of this machine that can be measured`)
  return Number(pid)
}

const commandOf = (pid: string) => readOrNothing(`/proc/${pid}/cmdline`)
const environmentOf = (pid: string) => readOrNothing(`/proc/${pid}/environ`)

/** A process may end while one looks. */
function readOrNothing(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
