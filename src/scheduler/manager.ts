import type { Logger } from 'pino'
import type { HostReport, HostSummary, TakenReport, UnchangedHost } from '../objects/host-report.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import type { Endpoint, RequestInfo } from '../rpc/contract.ts'
import { pageOf } from '../rpc/page.ts'
import { Chooser } from './choosing/chooser.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { hostSummary } from './host-summary.ts'
import { HostView } from './hosts/host-view.ts'
import { ReportDesk } from './hosts/report-desk.ts'
import { signsOfLifeServer } from './hosts/signs-of-life.ts'
import { firstModel, requestsByModel, withEncryption } from './models-in-order.ts'
import type { Placement } from './placement/placement.ts'
import type { WorkerLeft } from './placement/worker-hold.ts'
import type { SchedulerApi } from './rpc-api.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { BatchSelector } from './select-batch.ts'
import { DestinationSelector } from './select-destination.ts'
import { type AnswerOfMany, type RequestOfMany, selectMany } from './select-many.ts'
import { RebuildSelector } from './select-rebuild.ts'
import type { Telling } from './telling.ts'
import { ToldSelection } from './told-selection.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'

export interface SchedulerDeps {
  readonly placement: Placement
  readonly filters: readonly HostFilter[]
  readonly weighers: readonly HostWeigher[]
  /** Of the user's own; see `ChooserOptions`. */
  readonly extraFilters?: readonly HostFilter[]
  readonly extraWeighers?: readonly HostWeigher[]
  readonly options?: SchedulerOptions
  readonly logger: Logger
  /** Undefined: nobody is told of requests for hosts. */
  readonly telling?: Telling | undefined
}

/** Where one is left out, the one who looks at it knows the default. */
export interface SchedulerOptions {
  /** MiB that an encrypted guest pins beside its own memory. */
  readonly memEncryptionOverheadMb?: number
  readonly hostSubsetSize?: number
  readonly seed?: string
  readonly refreshIntervalMs?: number
  readonly downAfterIntervals?: number
  /** Milliseconds, by a clock that never jumps. */
  readonly now?: () => number
}

interface HostQuery {
  readonly hosts?: readonly string[] | undefined
  /** Only those after it. */
  readonly marker?: string | undefined
  readonly limit?: number | undefined
}

type ChoosingMethod =
  | 'selectDestinations'
  | 'selectDestinationsOfMany'
  | 'releaseAllocations'
  | 'reportHost'
  | 'announceHost'
  | 'reportHostUnchanged'
  | 'leaveHost'
  | 'listHosts'

/** Finds hosts for instances and claims them there. Keeps nothing that the database has not: any scheduler serves any. */
export class SchedulerManager implements Pick<Endpoint<typeof SchedulerApi>, ChoosingMethod> {
  readonly hosts: HostView
  readonly #placement: Placement
  readonly #selector: DestinationSelector
  readonly #batches: BatchSelector
  readonly #rebuilds: RebuildSelector
  readonly reports: ReportDesk
  readonly #options: SchedulerOptions
  readonly #logger: Logger
  readonly #telling: Telling | undefined

  constructor({
    placement,
    filters,
    weighers,
    extraFilters,
    extraWeighers,
    options = {},
    logger,
    telling,
  }: SchedulerDeps) {
    this.#telling = telling
    this.hosts = new HostView({ placement, logger, ...options, onLook: () => chooser.keepUp() })
    const own = { extraFilters: extraFilters ?? [], extraWeighers: extraWeighers ?? [] }
    const chooser = new Chooser({ hosts: this.hosts.table, filters, weighers, ...own, ...options })
    const all = [...filters, ...own.extraFilters]
    this.#selector = new DestinationSelector({
      placement,
      hosts: this.hosts,
      chooser,
      filters: all,
      logger,
      ...options,
    })
    this.#rebuilds = new RebuildSelector({ placement, hosts: this.hosts, filters: all })
    this.#batches = new BatchSelector({ placement, hosts: this.hosts, chooser, filters: all })
    this.reports = new ReportDesk({
      placement,
      isKnown: (host) => this.hosts.table.placeOf(host) !== undefined,
      logger,
    })
    this.#placement = placement
    this.#options = options
    this.#logger = logger
  }

  /** How many claims were lost to faster ones; a batch's is one. */
  get lostClaims(): number {
    return this.#selector.lostClaims + this.#batches.lostClaims
  }

  /** Reads the hosts: without them it serves nobody. */
  async start(): Promise<void> {
    await this.hosts.start()
  }

  async close(): Promise<void> {
    await this.reports.close()
    await this.hosts.close()
  }

  async selectDestinations(
    { request_spec: spec }: { readonly request_spec: RequestSpec },
    info: RequestInfo,
  ): Promise<{ selection: Selection }> {
    const news = await ToldSelection.of(this.#telling, this.#placement, spec, info)
    const requests = this.#requestsOf(spec, news)
    const claimed = await firstModel(requests, (request) =>
      spec.migration?.type === 'rebuild' ? this.#rebuilds.select(request) : this.#selector.select(request, info),
    ).catch((error: unknown) => news.rethrow(error))
    const { host, attempt } = claimed
    const { instance_uuid } = spec
    this.#logger.info({ instance_uuid, host, attempt, request_id: info.context.request_id }, 'host claimed')
    return { selection: withEncryption(requests, claimed) }
  }

  async selectDestinationsOfBatch(
    { request_spec: spec, instance_uuids }: { readonly request_spec: RequestSpec; readonly instance_uuids: string[] },
    info: RequestInfo,
  ): Promise<{ selections: { instance_uuid: string; selection: Selection }[] }> {
    const each = [...new Set(instance_uuids)].map(async (instance_uuid) => {
      const own = { ...spec, instance_uuid }
      const news = await ToldSelection.of(this.#telling, this.#placement, own, info)
      return { news, member: this.#requestsOf(own, news) }
    })
    const asked = await Promise.all(each)
    const members = asked.map(({ member }) => member)
    const claimed = await this.#batches.select(members, info).catch(async (error: unknown) => {
      for (const { news } of asked) await news.refused(error)
      throw error
    })
    const { request_id } = info.context
    this.#logger.info({ instances: claimed.size, attempt: spec.attempt, request_id }, 'hosts claimed for a batch')
    const requests = members[0] ?? []
    const selections = [...claimed].map(([instance_uuid, selection]) => ({
      instance_uuid,
      selection: withEncryption(requests, selection),
    }))
    return { selections }
  }

  selectDestinationsOfMany(
    { requests }: { readonly requests: readonly RequestOfMany[] },
    info: RequestInfo,
  ): Promise<{ answers: AnswerOfMany[] }> {
    return selectMany(requests, info, (request, its) => this.selectDestinations(request, its), this.#logger)
  }

  /** By model, best first. */
  #requestsOf(spec: RequestSpec, { told }: ToldSelection): readonly SchedulingRequest[] {
    const requests = requestsByModel(spec, this.#options.memEncryptionOverheadMb)
    return told === undefined ? requests : requests.map((request) => ({ ...request, told }))
  }

  async releaseAllocations(
    released: { readonly instance_uuid: string; readonly attempt: number },
    { context }: RequestInfo,
  ): Promise<null> {
    const host = await this.#placement.release(released)
    const facts = { ...released, request_id: context.request_id }
    if (host !== undefined) this.#logger.info({ ...facts, host }, 'claim given back')
    return null
  }

  async reportHost({ report }: { readonly report: HostReport }, { context }: RequestInfo): Promise<null> {
    await this.reports.take(report, context.request_id)
    return null
  }

  async announceHost({ report }: { readonly report: HostReport }, { context }: RequestInfo): Promise<TakenReport> {
    const digest = await this.reports.answer(report, context.request_id)
    return { report_digest: digest, unchanged_server: signsOfLifeServer(report.report_interval_seconds) }
  }

  async reportHostUnchanged(unchanged: UnchangedHost, { context }: RequestInfo): Promise<null> {
    this.reports.takeUnchanged(unchanged, context.request_id)
    return null
  }

  async leaveHost(left: WorkerLeft, { context }: RequestInfo): Promise<null> {
    const { host, worker_id } = left
    const wasTaken = await this.#placement.noteLeft(left)
    if (wasTaken) this.#logger.info({ host, worker_id, request_id: context.request_id }, 'the worker of this host left')
    return null
  }

  async listHosts({ hosts: names, marker = '', limit = 500 }: HostQuery): Promise<{ hosts: HostSummary[] }> {
    await this.hosts.refreshAll()
    const after = this.hosts.table.list(names).filter(({ host }) => host > marker)
    const page = after.slice(0, limit)
    const workers = await this.#placement.workersOf(page.map(({ host }) => host))
    return { hosts: [...pageOf(page.map((host) => hostSummary(host, workers.get(host.host))))] }
  }
}
