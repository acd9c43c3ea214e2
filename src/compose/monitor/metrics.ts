import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { BusObserver, ObservedMethod, ObservedOutcome } from '../../rpc/observer.ts'
import { refreshed } from './refresh.ts'
import type { WatchedProcess } from './watched.ts'

/** In seconds: a call takes a millisecond, a selection tens of them, a boot seconds, and 60 s is the default time-out. */
const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300]

/** Where a scrape comes from: on every series. */
export interface MetricsOptions {
  /** `conductor`, `scheduler` or `compute`. */
  readonly service: string
  /** The worker's name on the bus. */
  readonly host: string
}

export interface WorkerMetrics {
  readonly observer: BusObserver
  /** Prometheus' text format. Asks the broker and the store, and leaves out what does not answer. */
  scrape(watched: WatchedProcess): Promise<string>
  readonly contentType: string
}

/** `docs/metrics.md` lists what is here; a test compares the two. */
export function workerMetrics({ service, host }: MetricsOptions): WorkerMetrics {
  const registry = new Registry()
  registry.setDefaultLabels({ worker_service: service, worker: host })
  collectDefaultMetrics({ register: registry })
  const readings = refreshed(registry)
  const take = async (watched: WatchedProcess) => {
    await readings.refresh(watched)
    return await registry.metrics()
  }
  let taking: Promise<string> | undefined
  return {
    observer: busMetrics(registry),
    contentType: registry.contentType,
    // Two that scrape at the same time get the same: each begins by forgetting what was read.
    scrape(watched) {
      taking ??= take(watched).finally(() => {
        taking = undefined
      })
      return taking
    },
  }
}

/** What is counted as it happens. Labels are names of our contracts and codes of our errors: both closed lists. */
function busMetrics(registry: Registry): BusObserver {
  const registers = [registry]
  const side = (name: 'client' | 'server', what: string) => {
    const durations = new Histogram({
      name: `sevbus_rpc_${name}_duration_seconds`,
      help: `${what}, by outcome: ok, or the code of the error.`,
      labelNames: ['service', 'method', 'outcome'] as const,
      buckets: BUCKETS,
      registers,
    })
    const inFlight = new Gauge({
      name: `sevbus_rpc_${name}_in_flight`,
      help: `${what} that have begun and not ended.`,
      labelNames: ['service', 'method'] as const,
      registers,
    })
    return (method: ObservedMethod) => {
      const labels = { ...method }
      inFlight.inc(labels)
      return ({ outcome, seconds }: ObservedOutcome) => {
        inFlight.dec(labels)
        durations.observe({ ...method, outcome }, seconds)
      }
    }
  }
  const counter = <const L extends string>(name: string, help: string, ...labelNames: L[]) =>
    new Counter({ name, help, labelNames, registers })
  const redelivered = counter('sevbus_rpc_server_redeliveries_total', 'Messages that had been delivered before.')
  const refused = counter(
    'sevbus_rpc_server_refused_total',
    'Messages that were not worked on: malformed, of a sender who is not allowed, or for a method that nobody has.',
    'code',
  )
  const repliesRefused = counter(
    'sevbus_rpc_client_replies_refused_total',
    'Replies that were not taken: malformed, or of a sender who is not allowed.',
    'code',
  )
  const retried = counter(
    'sevbus_rpc_server_retries_total',
    'Casts that failed and are tried again.',
    'service',
    'method',
  )
  const parked = counter('sevbus_rpc_server_dead_letters_total', 'Messages parked as dead letters.', 'code')
  return {
    sending: side('client', 'Calls and casts that this worker sends'),
    serving: side('server', 'Requests that this worker serves'),
    redelivered: () => redelivered.inc(),
    refused: (code) => refused.inc({ code }),
    replyRefused: (code) => repliesRefused.inc({ code }),
    retried: (method) => retried.inc({ ...method }),
    parked: (code) => parked.inc({ code }),
  }
}
