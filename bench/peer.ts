import { createInterface } from 'node:readline'

/** One side of a peer, as the turn starts it in a process of its own. */
export interface PeerSides {
  /** Serves or consumes until the process is told to end. */
  readonly server: () => Promise<unknown>
  /** Makes one call, or publishes one event, and waits until it is done. */
  readonly client: () => Promise<(n: number) => Promise<void>>
}

export const AMQP_URL = process.env.BENCH_AMQP_URL ?? 'amqp://guest:guest@127.0.0.1:5672'
/** A fresh name for each turn. */
export const QUEUE = process.env.BENCH_QUEUE ?? 'bench'
/** The turn's own, on disk; removed after it. */
export const FOLDER = process.env.BENCH_FOLDER ?? '.'
export const OPTIONS = JSON.parse(process.env.BENCH_OPTIONS ?? '{}') as Record<string, unknown>
export const IS_QUORUM = process.env.BENCH_QUEUE_TYPE === 'quorum'

const say = (line: object) => process.stdout.write(`${JSON.stringify(line)}\n`)

/**
 * The process of one side. Says `ready` on standard output; a client then makes its calls for each line on
 * standard input, so that starting, connecting and warming up are not measured.
 */
export async function runPeer(sides: Partial<PeerSides>): Promise<void> {
  const [role, calls = '1000', inFlight = '1', warmUp = '100'] = process.argv.slice(2)
  if (role === 'server') {
    process.once('SIGINT', () => process.exit(0))
    await sides.server?.()
    say({ ready: true })
    return
  }
  const operation = await sides.client?.()
  if (operation === undefined) throw new Error('this peer has no client')
  await drive(operation, Number(warmUp), Number(inFlight))
  const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  say({ ready: true })
  while (!(await input.next()).done) {
    const began = performance.now()
    const latenciesMs = await drive(operation, Number(calls), Number(inFlight))
    const wallMs = performance.now() - began
    latenciesMs.sort((a, b) => a - b)
    const at = (part: number) => latenciesMs[Math.floor((latenciesMs.length - 1) * part)]
    say({ calls: latenciesMs.length, wallMs, p50Ms: at(0.5), p99Ms: at(0.99) })
  }
  process.exit(0)
}

/** Keeps `inFlight` operations going; the first that fails ends the turn. */
async function drive(operation: (n: number) => Promise<void>, count: number, inFlight: number): Promise<number[]> {
  const latenciesMs: number[] = []
  let next = 0
  const lane = async () => {
    while (next < count) {
      const n = next++
      const began = performance.now()
      await operation(n)
      latenciesMs.push(performance.now() - began)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, lane))
  return latenciesMs
}
