import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Logger } from 'pino'
import { InvalidConfiguration } from '../../errors.ts'
import type { BusObserver } from '../../rpc/observer.ts'
import { type Health, liveness, readiness } from './health.ts'
import { workerMetrics } from './metrics.ts'
import type { WatchedProcess, WatchedWorker } from './watched.ts'

/** Enough for probes and scrapers; nobody else has business here. */
const MAX_CONNECTIONS = 64

export interface MonitorOptions extends Omit<WatchedProcess, 'worker'> {
  readonly service: string
  /** The worker's name on the bus. */
  readonly host: string
  /** Where to listen; port 0 is any. */
  readonly at: { readonly host: string; readonly port: number }
  readonly logger: Logger
}

/** `/livez`, `/readyz` and `/metrics` of a worker's process, from before it starts until after its drain. */
export class Monitor {
  readonly observer: BusObserver
  readonly #options: MonitorOptions
  readonly #metrics
  readonly #server: Server
  #worker: WatchedWorker | undefined
  #broken: Error | undefined

  private constructor(options: MonitorOptions) {
    this.#options = options
    this.#metrics = workerMetrics(options)
    this.observer = this.#metrics.observer
    this.#server = createServer((request, response) => void this.#answer(request, response))
    this.#server.maxConnections = MAX_CONNECTIONS
  }

  /** @throws InvalidConfiguration when it cannot listen there */
  static async open(options: MonitorOptions): Promise<Monitor> {
    const monitor = new Monitor(options)
    await monitor.#listen()
    return monitor
  }

  /** `http://127.0.0.1:9100` */
  get url(): string {
    const { address, family, port } = this.#server.address() as AddressInfo
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
  }

  /** The worker is put together: from now on its parts are asked. */
  watch(worker: WatchedWorker): void {
    this.#worker = worker
  }

  /** It cannot go on: `/livez` says so until the process has ended. */
  broke(error: Error): void {
    this.#broken = error
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
  }

  async #listen(): Promise<void> {
    const { at, logger } = this.#options
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => reject(cannotListen(at, error)))
      this.#server.listen(at.port, at.host, resolve)
    })
    // A connection that cannot be accepted (no more file descriptors) must not end the worker that is asked how it is.
    this.#server.on('error', (error) => logger.warn({ err: error }, 'the monitor could not take a connection'))
    logger.info({ monitor: this.url }, 'serving /livez, /readyz and /metrics')
  }

  async #answer({ method, url = '/' }: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      if (method !== 'GET' && method !== 'HEAD') return end(response, 405, 'only GET\n')
      switch (url.split('?')[0]) {
        case '/livez':
          return endHealth(response, liveness(this.#broken))
        case '/readyz':
          return endHealth(response, await readiness(this.#watched))
        case '/metrics':
          return end(response, 200, await this.#metrics.scrape(this.#watched), this.#metrics.contentType)
        default:
          return end(response, 404, 'there are /livez, /readyz and /metrics\n')
      }
    } catch (error) {
      this.#options.logger.error({ err: error }, 'the monitor could not answer')
      end(response, 500, 'see the log of the worker\n')
    }
  }

  get #watched(): WatchedProcess {
    return { ...this.#options, worker: this.#worker }
  }
}

function endHealth(response: ServerResponse, { ok, text }: Health): void {
  end(response, ok ? 200 : 503, text)
}

function end(response: ServerResponse, status: number, text: string, type = 'text/plain; charset=utf-8'): void {
  response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(text)
}

function cannotListen({ host, port }: MonitorOptions['at'], error: NodeJS.ErrnoException): InvalidConfiguration {
  const fix = 'choose a free port, or 0 for any, and an address of this machine (worker.monitor_port, monitor_host)'
  return new InvalidConfiguration(
    `worker.monitor_port is ${port}, but nothing can be served at ${host}:${port}: ${error.code}; ${fix}`,
    { field: 'worker.monitor_port', value: port, fix },
    { cause: error },
  )
}
