import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { startInstalledRabbitMq } from '../src/servers/installed-rabbitmq.ts'
import { CALLS, type Peer } from './peers.ts'
import { bothSides } from './turn.ts'

const HELP = `Makes calls of one client to one server on a private RabbitMQ, and prints after each part what both hold (VmRSS, MiB):
memory has to stay where it is.

  npm run bench:flat -- [options]

  --calls N        how many (default 500000: a million messages, each call being two)
  --parts N        how often it looks (default 10)
  --in-flight N    default 256
`
const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '500000' },
    parts: { type: 'string', default: '10' },
    'in-flight': { type: 'string', default: '256' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  process.stdout.write(HELP)
  process.exit(0)
}

const broker = await startInstalledRabbitMq()
if (broker === undefined) throw new Error('install rabbitmq-server first')
const parts = Number(values.parts)
const sevbus = CALLS.find(({ name }) => name === 'sevbus') as Peer
const { server, client } = bothSides(sevbus, {
  amqpUrl: broker.url,
  queueType: 'quorum',
  inFlight: Number(values['in-flight']),
  calls: Math.ceil(Number(values.calls) / parts),
})
try {
  await server.says()
  client.begin()
  await client.says()
  console.log('calls so far: client, server (MiB)')
  let made = 0
  for (let part = 0; part < parts; part++) {
    client.tell()
    made += ((await client.says()) as { readonly calls: number }).calls
    console.log(`${made}: ${residentMib(client.pid)}, ${residentMib(server.pid)}`)
  }
} finally {
  await Promise.all([client.end(), server.end()])
  await broker.close()
}

/** Source: proc(5), /proc/pid/status. */
function residentMib(pid: number): number {
  const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(kib) / 1024)
}
