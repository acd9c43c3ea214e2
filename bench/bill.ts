import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ServerHome } from '../src/servers/server-home.ts'
import { startInstalledPostgres } from '../test/servers/installed-postgres.ts'
import { lives } from './bill/lives.ts'
import { cpuMsOf, ownCpuMs } from './cpu.ts'

const HELP = `Sends events through sevbus bill (import, then show), beside reading and parsing the same file, and beside the plainest program
that also stores a row for each event that is billed by, in turns, and prints ratios of CPU.

  npm run bench:bill -- [options]

  --events N       (default 100000: a file of 210 MB; half of them are billed by)
  --rounds N       (default 3; the median counts)
  --only A,B       these ledgers: embedded, PostgreSQL

CPU is of the processes and of the whole PostgreSQL server, durable here, for an event; what starting costs (the same with an
empty file) is shown apart. Memory is VmRSS in MiB at tenths of the time of the last import.
`
const AIM = 3
const { values } = parseArgs({
  options: {
    events: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '3' },
    only: { type: 'string', default: 'embedded,PostgreSQL' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const EVENTS = Number(values.events)
const home = await ServerHome.create('bench')
const [file, empty] = [home.path('events.ndjson'), home.path('empty')]

interface Ledger {
  readonly title: string
  readonly url: string | undefined
  /** A new one. */
  readonly make: () => Promise<{ readonly store: string; readonly env: NodeJS.ProcessEnv }>
}

/** Of the children that have ended, and of the server. Source: proc(5), /proc/pid/stat, fields 16 and 17, in ticks of 10 ms. */
async function cpuMs(url: string | undefined): Promise<number> {
  const stat = readFileSync('/proc/self/stat', 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const children = (Number(fields[13]) + Number(fields[14])) * 10
  return children + (url === undefined ? 0 : (await cpuMsOf(url)) - ownCpuMs())
}

/** One program from its start to its end. @returns CPU, ms, and its memory on the way, MiB */
async function run(args: readonly string[], env: NodeJS.ProcessEnv = {}, url?: string) {
  const before = await cpuMs(url)
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const memory: number[] = []
  const timer = setInterval(() => memory.push(rssMib(child.pid)), 100)
  const [code] = await once(child, 'exit')
  clearInterval(timer)
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}`)
  return { cpu: (await cpuMs(url)) - before, memory }
}

function rssMib(pid: number | undefined): number {
  try {
    return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024
  } catch {
    return 0
  }
}

async function measure({ title, url, make }: Ledger): Promise<void> {
  const turns = {
    parse: [] as number[],
    bare: [] as number[],
    'sevbus bill import': [] as number[],
    show: [] as number[],
  }
  const starts: number[] = []
  let memory: readonly number[] = []
  const parse = async (of: string) => (await run(['bench/bill/parse-lines.js', of])).cpu
  const parseStart = await parse(empty)
  for (let round = 0; round < Number(values.rounds); round++) {
    turns.parse.push((await parse(file)) - parseStart)
    const bare = await make()
    const bareRun = async (of: string, store: string) =>
      (await run(['--import', 'tsx', 'bench/bill/bare-ledger.ts', of, store], {}, url)).cpu
    turns.bare.push((await bareRun(file, bare.store)) - (await bareRun(empty, (await make()).store)))
    const { env } = await make()
    const bill = (...args: string[]) => run(['bin/sevbus.js', 'bill', ...args], env, url)
    await bill('import', empty)
    const start = (await bill('import', empty)).cpu
    const showStart = (await bill('show')).cpu
    const imported = await bill('import', file)
    turns['sevbus bill import'].push(imported.cpu - start)
    turns.show.push((await bill('show')).cpu - showStart)
    starts.push(start)
    memory = imported.memory.filter((mib) => mib > 0)
  }
  const micros = (times: readonly number[]) => (median(times) * 1000) / EVENTS
  const base = micros(turns.parse)
  const row = (us: number, aim = '') => ({
    'µs an event': us.toFixed(1),
    'of read and parse': (us / base).toFixed(2),
    aim,
  })
  console.log(`${title}, ${EVENTS} events, medians of ${values.rounds}; a start costs ${median(starts).toFixed(0)} ms`)
  console.table({
    'read and parse': row(base),
    'and a bare row for each that is billed by': row(micros(turns.bare)),
    'sevbus bill import': row(micros(turns['sevbus bill import'])),
    'sevbus bill show': row(micros(turns.show)),
    'import and show': row(micros(turns['sevbus bill import']) + micros(turns.show), `<= ${AIM}`),
  })
  const tenths = Array.from({ length: 10 }, (_, n) => memory[Math.floor(((n + 1) * memory.length) / 10) - 1] ?? 0)
  console.log(
    `memory, MiB: ${tenths.map((mib) => mib.toFixed(0)).join(' ')}; at most ${Math.max(...memory).toFixed(0)}\n`,
  )
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Number.NaN
}

try {
  writeFileSync(empty, '')
  const out = createWriteStream(file)
  for (const line of lives(EVENTS)) if (!out.write(`${line}\n`)) await once(out, 'drain')
  out.end()
  await once(out, 'finish')
  let made = 0
  if (values.only.includes('embedded')) {
    const make = async () => {
      const store = home.path(`ledger-${++made}`)
      return { store, env: { SEVBUS_BILL_FOLDER: store } }
    }
    await measure({ title: 'embedded', url: undefined, make })
  }
  const server = values.only.includes('PostgreSQL') ? await startInstalledPostgres({ durable: true }) : undefined
  if (server !== undefined) {
    const { default: pg } = await import('pg')
    const make = async () => {
      const client = new pg.Client({ connectionString: server.url })
      await client.connect()
      await client.query(`create database bill_${++made}`)
      await client.end()
      const url = new URL(server.url)
      url.pathname = `/bill_${made}`
      return { store: url.href, env: { SEVBUS_BILL_DATABASE_URL: url.href } }
    }
    await measure({ title: server.description, url: server.url, make })
    await server.close()
  }
} finally {
  await home.close()
}
