import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { ClaimRefused } from '../errors.ts'
import type { Selection } from '../objects/request-spec.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import type { Chooser, Considered, WeighedPlace } from './choosing/chooser.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { allocationsOn } from './host-state.ts'
import { endClaim } from './hosts/end-claim.ts'
import type { HostView } from './hosts/host-view.ts'
import { reportOfModel } from './models-in-order.ts'
import { noValidHost } from './no-valid-host.ts'
import type { Claimed } from './placement/claim.ts'
import type { Placement } from './placement/placement.ts'
import { schedulingReport } from './scheduling-report.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { nameHash, tieBreak } from './tie-break.ts'

/** How often all hosts that passed may be lost to faster claims before the request is given up. */
const LOOKS = 3
/** By each lost claim the choice is among so many times as many of the best hosts. */
const SPREAD = 8
/** How often a refusal is put off, because what it says may be true of no single moment. */
export const WAITS = 10

export interface DestinationDeps {
  readonly placement: Pick<Placement, 'grant' | 'claimOf' | 'hintedHosts'>
  readonly hosts: HostView
  readonly chooser: Chooser
  /** All of them, for the words of a refusal. */
  readonly filters: readonly HostFilter[]
  /** The first try is among so many of the best: Nova's option of this name. */
  readonly hostSubsetSize?: number
  readonly logger: Logger
}

/** What a look goes by. */
interface Known {
  readonly request: SchedulingRequest
  /** Hosts and groups were read as they were at one moment: before that, nobody is refused. */
  readonly isOfOneMoment: boolean
}

interface Missed {
  readonly considered: Considered
  /** Hosts that passed and were lost to faster claims. */
  readonly lost: ReadonlyMap<string, string>
}

/** Claims the best host for a request, as far as is known; what is known is made sure of before a request is refused. */
export class DestinationSelector {
  readonly #deps: DestinationDeps
  /** How many claims were lost to faster ones. */
  lostClaims = 0

  constructor(deps: DestinationDeps) {
    this.#deps = deps
  }

  /** @throws NoValidHost, StaleAttempt */
  async select(asked: SchedulingRequest, info: RequestInfo): Promise<Selection> {
    const { placement, filters } = this.#deps
    let known: Known = { request: await this.#withHints(asked, info), isOfOneMoment: false }
    let losses = 0
    for (let waits = 0; ; ) {
      const { request, isOfOneMoment } = known
      const outcome = await this.#claimFirst(request, info)
      if ('selection' in outcome) return outcome.selection
      const { considered, lost } = outcome
      const isTrue = isOfOneMoment && !this.#mightHaveFit(request)
      const isEnough = lost.size > 0 ? ++losses >= LOOKS : isTrue || waits >= WAITS
      if (isEnough) throw noValidHost(request, considered.rejections, filters)
      // This try may have its claim already, and have taken the last place with it.
      const made = waits++ > 0 ? undefined : await placement.claimOf(request.spec)
      if (made !== undefined) return made
      known = await this.#lookAnew(asked, request, info)
    }
  }

  async #lookAnew(asked: SchedulingRequest, { hinted }: SchedulingRequest, info: RequestInfo): Promise<Known> {
    const { hosts } = this.#deps
    await hosts.settle()
    await hosts.refreshAll()
    const request = await this.#withHints(asked, info)
    // Groups are read apart from hosts: what is the same before and after was so in between.
    return { request, isOfOneMoment: isDeepStrictEqual(hinted, request.hinted) }
  }

  /**
   * Would a host have done when all were read, if it were not for claims that are on their way, or have ended since? Another
   * that was full then may have room now: who was refused for both would be refused for what never was.
   */
  #mightHaveFit(request: SchedulingRequest): boolean {
    const { hosts, chooser } = this.#deps
    return hosts.table.asRead().some((host) => chooser.accepts(host, request))
  }

  /** Looked up anew whenever others may have been faster: they may be of the same group. */
  async #withHints(request: SchedulingRequest, { context }: RequestInfo): Promise<SchedulingRequest> {
    const hinted = await this.#deps.placement.hintedHosts(request.spec, context)
    return hinted === undefined ? request : { ...request, hinted }
  }

  /** Claims the best host that is not lost to a faster claim. */
  async #claimFirst(asked: SchedulingRequest, info: RequestInfo): Promise<{ selection: Selection } | Missed> {
    const { chooser, hosts, logger } = this.#deps
    let request = asked
    const { instance_uuid } = request.spec
    const lost = new Map<string, string>()
    for (;;) {
      info.signal.throwIfAborted()
      const considered = chooser.consider(request, lost)
      const ranking = this.#preferred(considered.best, instance_uuid, lost.size)
      const [first] = ranking
      if (first === undefined) return { considered, lost }
      try {
        const selection = await this.#claim(request, first, considered, ranking)
        if (selection !== undefined) return { selection }
        // A list of filters of one's own may pass a host that has no slot.
        lost.set(first.host.host, 'no pool has what was asked')
      } catch (error) {
        if (!(error instanceof ClaimRefused)) throw error
        this.lostClaims++
        const { request_id } = info.context
        const facts = { instance_uuid, host: first.host.host, reason: error.message, request_id }
        logger.debug(facts, 'lost to a faster claim')
        lost.set(first.host.host, error.message)
        await hosts.refresh()
        request = await this.#withHints(request, info)
      }
    }
  }

  async #claim(
    request: SchedulingRequest,
    { host, place }: WeighedPlace,
    { rejections, passed }: Considered,
    ranking: readonly WeighedPlace[],
  ): Promise<Selection | undefined> {
    const { spec, resources } = request
    const allocations = allocationsOn(host, resources)
    if (allocations === undefined) return undefined
    const { hosts, placement } = this.#deps
    const report = reportOfModel(request, schedulingReport(rejections, ranking, passed))
    const wanted = { host: host.host, attempt: spec.attempt, allocations: [...allocations], report }
    const onItsWay = hosts.table.begin(place, allocations)
    let claimed: Claimed | undefined
    try {
      const claim = {
        instance_uuid: spec.instance_uuid,
        selection: wanted,
        migration: spec.migration,
        told: request.told?.(),
      }
      claimed = await hosts.onItsWay(placement.grant(claim))
      return claimed.selection
    } finally {
      endClaim(onItsWay, claimed)
    }
  }

  /**
   * Who was faster on the best host looks for the next best, too: so among ever more of the best one is taken by the
   * instance's uuid, and schedulers that know the same do not follow each other from host to host.
   */
  #preferred(best: readonly WeighedPlace[], instanceUuid: string, losses: number): readonly WeighedPlace[] {
    const subset = Math.min(best.length, (this.#deps.hostSubsetSize ?? 1) * SPREAD ** Math.min(losses, 5))
    if (subset <= 1) return best
    const chosen = tieBreak(nameHash(instanceUuid), losses) % subset
    return [best[chosen] as WeighedPlace, ...best.slice(0, chosen), ...best.slice(chosen + 1)]
  }
}
