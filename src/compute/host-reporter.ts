import type { Logger } from 'pino'
import { toSevbusError } from '../errors.ts'
import type { RpcClient } from '../rpc/client.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { SchedulerApi } from '../scheduler/rpc-api.ts'
import type { HostView } from './host-view.ts'
import { hostReport, type ResourceOptions } from './resource-tracker.ts'
import type { VirtDriver } from './virt-driver.ts'

export interface HostReporterOptions {
  readonly host: string
  readonly driver: Pick<VirtDriver, 'hypervisorType' | 'resources'>
  /** What of the host is offered now. */
  readonly view: Pick<HostView, 'look'>
  readonly client: Pick<RpcClient, 'of'>
  readonly logger: Logger
  readonly resources: ResourceOptions
  /** How many builds are under way. */
  readonly ioOps: () => number
  readonly traits: readonly string[]
  readonly reportIntervalSeconds: number
}

/** After a report that did not get through; so the order in which workers start does not matter. */
const RETRY_SECONDS = 1

/**
 * Tells the scheduler that the host lives and what it offers, now and at every interval. The hypervisor is asked anew
 * each time, so a change of BIOS, kernel or libvirt is published without a restart. What cannot be told counts as a
 * missed heartbeat, never as a failure of the worker.
 */
export class HostReporter {
  readonly #options: HostReporterOptions
  readonly #stop = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #reporting: Promise<void> | undefined
  #lastFailure: string | undefined
  #lastTrouble: string | undefined = 'the host has not reported yet'

  constructor(options: HostReporterOptions) {
    this.#options = options
  }

  readonly name = 'host report'

  /** Why the scheduler does not know this host as it is now. */
  async trouble(): Promise<string | undefined> {
    return this.#lastTrouble
  }

  /** Resolves after the first report, sent or not. */
  async start(): Promise<void> {
    await this.report()
  }

  /** Reports out of turn; while a report is under way, waits for that one. Never throws. */
  report(): Promise<void> {
    clearTimeout(this.#timer)
    this.#reporting ??= this.#report().finally(() => {
      this.#reporting = undefined
      this.#scheduleNext()
    })
    return this.#reporting
  }

  async close(): Promise<void> {
    this.#stop.abort()
    clearTimeout(this.#timer)
    await this.#reporting
  }

  #scheduleNext(): void {
    if (this.#stop.signal.aborted) return
    const { reportIntervalSeconds } = this.#options
    const seconds =
      this.#lastFailure === undefined ? reportIntervalSeconds : Math.min(RETRY_SECONDS, reportIntervalSeconds)
    this.#timer = setTimeout(() => void this.report(), seconds * 1000)
  }

  async #report(): Promise<void> {
    const { host, driver, view, client, resources: options, traits, reportIntervalSeconds } = this.#options
    const { signal } = this.#stop
    if (signal.aborted) return
    try {
      const [capabilities, resources] = await Promise.all([view.look(signal), driver.resources(signal)])
      const { hypervisorType } = driver
      const ioOps = this.#options.ioOps()
      const state = { host, hypervisorType, capabilities, resources, options, ioOps, traits }
      const report = hostReport({ ...state, reportIntervalSeconds })
      // A report that waits longer is stale: it must not make a dead host look alive.
      const expirationMs = reportIntervalSeconds * 2000
      const timeoutMs = Math.max(1000, reportIntervalSeconds * 1000)
      await client.of(SchedulerApi).reportHost(newRequestContext(), { report }, { timeoutMs, signal, expirationMs })
      this.#noteSuccess()
    } catch (thrown) {
      if (!signal.aborted) this.#noteFailure(thrown)
    }
  }

  #noteSuccess(): void {
    if (this.#lastFailure !== undefined) this.#options.logger.info('reports reach the scheduler again')
    this.#lastFailure = undefined
    this.#lastTrouble = undefined
  }

  /** Once for each kind of failure: an hour without a scheduler is one line. */
  #noteFailure(thrown: unknown): void {
    const { code, message } = toSevbusError(thrown)
    if (code !== this.#lastFailure) this.#options.logger.warn({ code }, `the host could not be reported: ${message}`)
    this.#lastFailure = code
    this.#lastTrouble = `the last report did not get through: ${message}`
  }
}
