import { oneOf, randomFrom } from './random.ts'

/** Something that happens to the processes, their lines or the broker. */
export type Fault =
  | { readonly kind: 'restart broker'; readonly signal: 'SIGTERM' | 'SIGKILL' }
  | { readonly kind: 'kill'; readonly who: string }
  | { readonly kind: 'reset'; readonly who: string }
  | { readonly kind: 'stall'; readonly who: string; readonly forMs: number }
  | { readonly kind: 'slow'; readonly who: string; readonly forMs: number }
  | { readonly kind: 'half-open'; readonly who: string; readonly left: 'process' | 'broker' }
  | { readonly kind: 'delete queue'; readonly queue: DeletedQueue }

/** Queues that may be deleted with what is in them: an order that was in its queue would be lost with it. */
export type DeletedQueue =
  | { readonly of: 'questions' }
  | { readonly of: 'questions to'; readonly who: string }
  | { readonly of: 'orders to'; readonly who: string }
  | { readonly of: 'replies to'; readonly who: string }

export interface Planned {
  /** When so great a part of all messages has gone well: during an outage nothing else happens. */
  readonly at: number
  readonly fault: Fault
}

export interface Cast {
  readonly senders: readonly string[]
  readonly servers: readonly string[]
  readonly listeners: readonly string[]
}

/** Longer than two heartbeats of two seconds: both sides give the connection up. */
const LONG_STALL_MS = 5_000
/** Shorter: everything goes on as if nothing had been. */
const SHORT_STALL_MS = 1_500
const SLOW_MS = 4_000
/** Between them, as parts of all messages. */
const [FIRST, LAST] = [0.05, 0.9] as const
/** So great a part of what follows the crash is the moment after it. */
const AFTER_CRASH = 0.1

/**
 * Two restarts of the broker, a crash at a third and an orderly one at two thirds, and between them everything else: each
 * kind at least once, and as many more as wanted. The same seed gives the same.
 *
 * Queues are deleted after the crash only: a quorum queue that was declared in the seconds before one may be lost for
 * good ("could not be restarted {error,enoent}", RabbitMQ 3.10), and whoever touches it then loses the connection (541).
 * And not in the moment after it, when consumers come back: deleted among them, a queue was seen to hang there, too.
 */
export function schedule(seed: number, cast: Cast, more: number): readonly Planned[] {
  const random = randomFrom(seed)
  const kinds = faultsOf(random, cast)
  const others = [...kinds.map((make) => make()), ...Array.from({ length: more }, () => oneOf(random, kinds)())]
  const [crash, restart] = ([0, 1] as const).map((index) => (index + 0.8 + 0.4 * random()) / 3) as [number, number]
  const spread = shuffled(random, others).map((fault, index) => {
    const at = FIRST + ((LAST - FIRST) * (index + random())) / others.length
    const isTooEarly = fault.kind === 'delete queue' && at < crash + (LAST - crash) * AFTER_CRASH
    return { at: isTooEarly ? crash + (LAST - crash) * (AFTER_CRASH + (1 - AFTER_CRASH) * random()) : at, fault }
  })
  const restarts = [
    { at: crash, fault: { kind: 'restart broker', signal: 'SIGKILL' } as const },
    { at: restart, fault: { kind: 'restart broker', signal: 'SIGTERM' } as const },
  ]
  return [...spread, ...restarts].toSorted((a, b) => a.at - b.at)
}

function faultsOf(random: () => number, { senders, servers, listeners }: Cast): readonly (() => Fault)[] {
  const anybody = () => oneOf(random, [...senders, ...servers, ...listeners])
  const server = () => oneOf(random, servers)
  const sender = () => oneOf(random, senders)
  return [
    () => ({ kind: 'kill', who: server() }),
    () => ({ kind: 'kill', who: server() }),
    () => ({ kind: 'kill', who: sender() }),
    () => ({ kind: 'kill', who: oneOf(random, listeners) }),
    () => ({ kind: 'reset', who: server() }),
    () => ({ kind: 'reset', who: anybody() }),
    () => ({ kind: 'stall', who: anybody(), forMs: LONG_STALL_MS }),
    () => ({ kind: 'stall', who: anybody(), forMs: SHORT_STALL_MS }),
    () => ({ kind: 'slow', who: anybody(), forMs: SLOW_MS }),
    () => ({ kind: 'half-open', who: anybody(), left: 'process' }),
    () => ({ kind: 'half-open', who: anybody(), left: 'broker' }),
    () => ({ kind: 'delete queue', queue: { of: 'questions' } }),
    () => ({ kind: 'delete queue', queue: { of: 'questions to', who: server() } }),
    () => ({ kind: 'delete queue', queue: { of: 'orders to', who: server() } }),
    () => ({ kind: 'delete queue', queue: { of: 'replies to', who: sender() } }),
  ]
}

function shuffled<T>(random: () => number, items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, key: random() }))
    .toSorted((a, b) => a.key - b.key)
    .map(({ item }) => item)
}

/** `reset of server-1`: for people. */
export function describeFault(fault: Fault): string {
  switch (fault.kind) {
    case 'restart broker':
      return `broker restarted after ${fault.signal}`
    case 'kill':
      return `${fault.who} killed`
    case 'reset':
      return `connections of ${fault.who} reset`
    case 'stall':
    case 'slow':
      return `line of ${fault.who} ${fault.kind === 'stall' ? 'stalled' : 'slow'} for ${fault.forMs} ms`
    case 'half-open':
      return `connections of ${fault.who} left open at the ${fault.left} only`
    case 'delete queue':
      return `queue of ${fault.queue.of}${'who' in fault.queue ? ` ${fault.queue.who}` : ''} deleted`
    default:
      return fault satisfies never
  }
}
