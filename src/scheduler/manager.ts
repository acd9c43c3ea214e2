import type { Logger } from 'pino'
import { ClaimRefused } from '../errors.ts'
import type { HostReport, HostSummary } from '../objects/host-report.ts'
import { launchRequest, refuseDisagreement } from '../objects/launch-request.ts'
import type { RequestSpec, Selection } from '../objects/request-spec.ts'
import type { Rejection } from '../objects/scheduling-report.ts'
import type { Endpoint, RequestInfo } from '../rpc/contract.ts'
import { filterHosts } from './filter-hosts.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { allocationsOn } from './host-state.ts'
import { hostSummary } from './host-summary.ts'
import { LOST_CLAIM, noValidHost } from './no-valid-host.ts'
import type { Placement } from './placement/placement.ts'
import type { SchedulerApi } from './rpc-api.ts'
import { schedulingReport, summaryOf } from './scheduling-report.ts'
import { type SchedulingRequest, schedulingRequest } from './scheduling-request.ts'
import { type WeighedHost, weighHosts } from './weigh-hosts.ts'
import type { HostWeigher } from './weighers/host-weigher.ts'

/** How often the hosts are read when every one that passed was lost to faster claims. */
const LOOKS = 3

export interface SchedulerDeps {
  readonly placement: Placement
  readonly filters: readonly HostFilter[]
  readonly weighers: readonly HostWeigher[]
  /** MiB that an encrypted guest pins beside its own memory. */
  readonly memEncryptionOverheadMb?: number
  readonly logger: Logger
}

/** Finds hosts for instances and claims them there. Keeps nothing between requests: any scheduler can serve any. */
export class SchedulerManager implements Omit<Endpoint<typeof SchedulerApi>, 'audit'> {
  readonly #deps: SchedulerDeps

  constructor(deps: SchedulerDeps) {
    this.#deps = deps
  }

  async selectDestinations(
    { request_spec: spec }: { readonly request_spec: RequestSpec },
    info: RequestInfo,
  ): Promise<{ selection: Selection }> {
    refuseDisagreement(launchRequest(spec.flavor, spec.image), spec.mem_encryption)
    const { placement, memEncryptionOverheadMb } = this.#deps
    const request = schedulingRequest(spec, memEncryptionOverheadMb)
    const selection = (await placement.claimOf(spec)) ?? (await this.#select(request, info))
    const { host, attempt } = selection
    this.#deps.logger.info(
      { instance_uuid: spec.instance_uuid, host, attempt, request_id: info.context.request_id },
      'host claimed',
    )
    return { selection }
  }

  async releaseAllocations(
    released: { readonly instance_uuid: string; readonly attempt: number },
    { context }: RequestInfo,
  ): Promise<null> {
    const host = await this.#deps.placement.release(released)
    const facts = { ...released, request_id: context.request_id }
    if (host !== undefined) this.#deps.logger.info({ ...facts, host }, 'claim given back')
    return null
  }

  async reportHost({ report }: { readonly report: HostReport }, { context }: RequestInfo): Promise<null> {
    const { request_id } = context
    const { changed, overcommitted } = await this.#deps.placement.recordHost(report)
    if (!changed) return null
    this.#deps.logger.info({ host: report.host, request_id }, 'host reported a change')
    for (const inventory of overcommitted) {
      this.#deps.logger.warn(
        { host: report.host, ...inventory, request_id },
        'instances use more than the host has; it takes no more of them until enough are gone',
      )
    }
    return null
  }

  async listHosts({ hosts }: { readonly hosts?: readonly string[] | undefined }): Promise<{ hosts: HostSummary[] }> {
    return { hosts: (await this.#deps.placement.hostStates(hosts)).map(hostSummary) }
  }

  async #select(request: SchedulingRequest, info: RequestInfo): Promise<Selection> {
    const { placement, filters, weighers } = this.#deps
    for (let look = 1; ; look++) {
      const hosts = await placement.hostStates()
      const { passed, rejections } = filterHosts(hosts, request, filters)
      const ranking = weighHosts(passed, request, weighers)
      const outcome = await this.#claimFirst(request, ranking, rejections, info)
      if ('selection' in outcome) return outcome.selection
      // What others took is seen at the next look; it is only worth one when something was there.
      if (passed.length === 0 || look === LOOKS) throw noValidHost(request, summaryOf(outcome.rejections), filters)
    }
  }

  /** Claims the best host that is not lost to a faster claim. */
  async #claimFirst(
    request: SchedulingRequest,
    ranking: readonly WeighedHost[],
    rejections: readonly Rejection[],
    { signal, context: { request_id } }: RequestInfo,
  ): Promise<{ readonly selection: Selection } | { readonly rejections: readonly Rejection[] }> {
    const { instance_uuid, attempt } = request.spec
    const lost: Rejection[] = []
    for (const [rank, { host }] of ranking.entries()) {
      signal.throwIfAborted()
      const allocations = allocationsOn(host, request.resources)
      // A list of filters of one's own may pass a host that has no slot.
      if (allocations === undefined) {
        lost.push({ host: host.host, filter: LOST_CLAIM, reason: 'no pool has what was asked' })
        continue
      }
      const report = schedulingReport(summaryOf([...rejections, ...lost]), ranking.slice(rank))
      try {
        const wanted = { host: host.host, attempt, allocations: [...allocations], report }
        return { selection: await this.#deps.placement.claim(instance_uuid, wanted) }
      } catch (error) {
        if (!(error instanceof ClaimRefused)) throw error
        const facts = { instance_uuid, host: host.host, reason: error.message, request_id }
        this.#deps.logger.debug(facts, 'lost to a faster claim')
        lost.push({ host: host.host, filter: LOST_CLAIM, reason: error.message })
      }
    }
    return { rejections: [...rejections, ...lost] }
  }
}
