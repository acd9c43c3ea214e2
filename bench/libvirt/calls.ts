import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { parseArgs } from 'node:util'
import { Libvirt } from '../../dist/compute/libvirt/rpc/libvirt.js'
import { haltingDomain } from '../../test/libvirt/halting-domain.ts'
import { whyNoLibvirt } from '../../test/servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../../test/servers/libvirt-daemon.ts'
import { ownCpuMs } from '../cpu.ts'

const HELP = `Asks a private libvirt the same questions by our client and by libvirt's own library (python3-libvirt), in turns, and
prints medians over the rounds.

  npm run bench:libvirt -- [--rounds N] [--times N] [--guests N]
`
const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '7' },
    times: { type: 'string', default: '500' },
    guests: { type: 'string', default: '20' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}
const missing = await whyNoLibvirt()
if (missing !== undefined) throw new Error(`cannot run here: ${missing.why}; ${missing.how}`)

interface Turn {
  readonly latenciesMs: readonly number[]
  readonly cpuMs: number
}
interface Client {
  turn(call: string, times: number): Promise<Turn>
  close(): Promise<void>
}

/** What costs libvirt more is asked less often. */
const CALLS = { state: 1, xml: 0.5, states: 0.2, 'domain capabilities': 0.2 } as const

function ourClient(host: PrivateLibvirt, uuid: string): Client {
  const libvirt = new Libvirt({ uri: host.uri, onTrouble: (trouble) => console.error(trouble.message) })
  const domain = { arch: 'x86_64', machine: 'q35', virttype: host.virtType }
  const calls: Record<string, () => Promise<unknown>> = {
    state: () => libvirt.domainGetState(uuid),
    xml: () => libvirt.domainGetXmlDesc(uuid),
    states: () => libvirt.connectGetAllDomainStates(),
    'domain capabilities': () => libvirt.connectGetDomainCapabilities(domain),
  }
  return {
    async turn(name, times) {
      const call = calls[name]
      if (call === undefined) throw new Error(`no call ${name}`)
      const latenciesMs: number[] = []
      const cpuBefore = ownCpuMs()
      for (let n = 0; n < times; n++) {
        const before = performance.now()
        await call()
        latenciesMs.push(performance.now() - before)
      }
      return { latenciesMs, cpuMs: ownCpuMs() - cpuBefore }
    },
    close: () => libvirt.close(),
  }
}

function pythonClient(host: PrivateLibvirt, uuid: string): Client {
  const script = new URL('python-client.py', import.meta.url).pathname
  const child = spawn('/usr/bin/python3', [script, host.uri, uuid, host.virtType], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  return {
    async turn(call, times) {
      child.stdin.write(`${JSON.stringify({ call, times })}\n`)
      const { value } = await lines.next()
      if (value === undefined) throw new Error('python-client.py has ended; is python3-libvirt installed?')
      return JSON.parse(value) as Turn
    },
    async close() {
      child.stdin.end()
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(Math.floor(sorted.length * q), sorted.length - 1)] ?? Number.NaN
}

const median = (numbers: readonly number[]) =>
  quantile(
    numbers.toSorted((a, b) => a - b),
    0.5,
  )

const host = await startLibvirt({ name: 'bench' })
try {
  const uuids = Array.from({ length: Number(values.guests) }, () => randomUUID())
  const setUp = new Libvirt({ uri: host.uri, onTrouble: () => {} })
  for (const uuid of uuids) {
    await setUp.domainDefineXmlFlags(haltingDomain(host, { uuid, name: uuid }))
    await setUp.domainCreateWithFlags(uuid)
  }
  await setUp.close()
  const [uuid = ''] = uuids
  const clients = { sevbus: ourClient(host, uuid), python: pythonClient(host, uuid) }
  for (const client of Object.values(clients)) await client.turn('state', 2_000)

  console.log(
    `${uuids.length} guests; ms as p50 / p95, µs of the client's CPU per call; medians of ${values.rounds} rounds`,
  )
  for (const [call, part] of Object.entries(CALLS)) {
    const turns: Record<string, { p50: number; p95: number; cpuUs: number }[]> = { sevbus: [], python: [] }
    for (let round = 0; round < Number(values.rounds); round++) {
      for (const [name, client] of Object.entries(clients)) {
        const times = Math.ceil(Number(values.times) * part)
        const { latenciesMs, cpuMs } = await client.turn(call, times)
        const sorted = latenciesMs.toSorted((a, b) => a - b)
        turns[name]?.push({ p50: quantile(sorted, 0.5), p95: quantile(sorted, 0.95), cpuUs: (1000 * cpuMs) / times })
      }
    }
    const of = (name: string, key: 'p50' | 'p95' | 'cpuUs') => median((turns[name] ?? []).map((turn) => turn[key]))
    const shown = ['sevbus', 'python'].map(
      (name) =>
        `${name} ${of(name, 'p50').toFixed(3)} / ${of(name, 'p95').toFixed(3)}, ${of(name, 'cpuUs').toFixed(0)} µs`,
    )
    console.log(`${call}: ${shown.join('; ')}; p50 ${(of('sevbus', 'p50') / of('python', 'p50')).toFixed(2)} of python`)
  }
  for (const client of Object.values(clients)) await client.close()
} finally {
  await host.stop()
}
