import { ClaimRefused, NoValidHost } from '../errors.ts'
import type { Selection } from '../objects/request-spec.ts'
import type { RequestInfo } from '../rpc/contract.ts'
import type { Chooser } from './choosing/chooser.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { allocationsOn } from './host-state.ts'
import { endClaim } from './hosts/end-claim.ts'
import type { ClaimInFlight } from './hosts/host-table.ts'
import type { HostView } from './hosts/host-view.ts'
import { firstModel, reportOfModel } from './models-in-order.ts'
import { noValidHost } from './no-valid-host.ts'
import type { Claim, ClaimOutcome } from './placement/claims.ts'
import type { Placement } from './placement/placement.ts'
import { schedulingReport } from './scheduling-report.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { WAITS } from './select-destination.ts'

/** How often a batch that fits in memory may be lost to faster claims before it is given up. */
const LOOKS = 5
/** Hosts by name in the reasons of each of many: they travel in one message. */
const NAMED = 5

export interface BatchDeps {
  readonly placement: Pick<Placement, 'claimAll' | 'claimsOf' | 'hintedHosts'>
  readonly hosts: HostView
  readonly chooser: Chooser
  /** All of them, for the words of a refusal. */
  readonly filters: readonly HostFilter[]
}

/** The models that will do for one instance, best first. */
type Member = readonly SchedulingRequest[]

/** A member's claim, which hosts in memory count already. */
interface Draft {
  readonly claim: Claim
  readonly onItsWay: ClaimInFlight
}

/** One for whom there is no host beside the others. */
interface Lacking {
  readonly member: Member
  readonly refusal: NoValidHost
}

/** Finds hosts for many instances, each knowing where those before it go, and claims them all in one step, or none. */
export class BatchSelector {
  readonly #deps: BatchDeps
  /** How many batches were lost to faster claims, each time. */
  lostClaims = 0

  constructor(deps: BatchDeps) {
    this.#deps = deps
  }

  /**
   * @returns by uuid; those whose try is void are left out
   * @throws NoValidHost
   */
  async select(members: readonly Member[], { signal }: RequestInfo): Promise<ReadonlyMap<string, Selection>> {
    const { hosts } = this.#deps
    for (let look = 1; ; look++) {
      signal.throwIfAborted()
      const made = await this.#tryOnce(members, look)
      if (made instanceof Map) return made
      if (look >= LOOKS && made instanceof ClaimRefused) throw lostBatch(members, made)
      await hosts.settle()
      await hosts.refreshAll()
    }
  }

  /**
   * @returns the claims; undefined, or how one was refused: look again
   * @throws NoValidHost
   */
  async #tryOnce(
    members: readonly Member[],
    look: number,
  ): Promise<ReadonlyMap<string, Selection> | ClaimRefused | undefined> {
    const drafts: Draft[] = []
    const known = await this.#withHints(members)
    const lacking = await this.#draft(known, drafts).catch((error: unknown) => {
      for (const { onItsWay } of drafts) onItsWay.failed()
      throw error
    })
    if (lacking === undefined) return this.#claim(drafts)
    // What does not fit is looked for once in memory, and then in what is certain.
    const isTrue = look > 1 && !this.#mightHaveFit(lacking.member, drafts)
    for (const { onItsWay } of drafts) onItsWay.failed()
    // The batch may have its claims already, and have taken the last places with them.
    const made = await this.#madeBefore(members)
    if (made === undefined && (isTrue || look > WAITS))
      throw refusedBatch(lacking.refusal, drafts.length, members.length)
    return made
  }

  /** Looked up for all before the first is drafted: what a draft takes in memory must not wait for the database. */
  async #withHints(members: readonly Member[]): Promise<readonly Member[]> {
    const known: Member[] = []
    for (const member of members) {
      const [first] = member
      const hinted = first && (await this.#deps.placement.hintedHosts(first.spec))
      known.push(hinted ? member.map((request) => ({ ...request, hinted })) : member)
    }
    return known
  }

  /** @returns the first that finds no host, and why; undefined: each has one */
  async #draft(members: readonly Member[], drafts: Draft[]): Promise<Lacking | undefined> {
    for (const asked of members) {
      const member = asked.map((request) => withDrafts(request, drafts))
      const draft = await this.#draftOne(member).catch(asRefusal)
      if (draft instanceof NoValidHost) return { member, refusal: draft }
      drafts.push(draft)
    }
    return undefined
  }

  /** Would a host have done when all were read, with the others where they are drafted? See `DestinationSelector`. */
  #mightHaveFit(member: Member, drafts: readonly Draft[]): boolean {
    const { hosts, chooser } = this.#deps
    const asRead = hosts.table.asRead(drafts.map(({ onItsWay }) => onItsWay))
    return asRead.some((host) => member.some((request) => chooser.accepts(host, request)))
  }

  /** @throws NoValidHost */
  async #draftOne(member: Member): Promise<Draft> {
    const { chooser, hosts, filters } = this.#deps
    let onItsWay: ClaimInFlight | undefined
    const selection = await firstModel(member, async (request) => {
      const { best, rejections, passed } = chooser.consider(request)
      const [first] = best
      const allocations = first && allocationsOn(first.host, request.resources)
      if (first === undefined || allocations === undefined) throw noValidHost(request, rejections, filters)
      onItsWay = hosts.table.begin(first.place, allocations)
      const report = short(reportOfModel(request, schedulingReport(rejections, best, passed)))
      return { host: first.host.host, attempt: request.spec.attempt, allocations: [...allocations], report }
    })
    const instance_uuid = member[0]?.spec.instance_uuid as string
    return { claim: { instance_uuid, selection }, onItsWay: onItsWay as ClaimInFlight }
  }

  async #claim(drafts: readonly Draft[]): Promise<Map<string, Selection> | ClaimRefused> {
    const { placement, hosts } = this.#deps
    const claims = drafts.map(({ claim }) => claim)
    let outcomes: readonly ClaimOutcome[] = []
    try {
      outcomes = await hosts.onItsWay(placement.claimAll(claims))
    } finally {
      for (const [n, { onItsWay }] of drafts.entries()) endClaim(onItsWay, outcomes[n])
    }
    const refusal = outcomes.find((outcome) => outcome instanceof ClaimRefused)
    if (refusal !== undefined) {
      this.lostClaims++
      return refusal
    }
    return new Map(
      outcomes.flatMap((outcome, n) =>
        'selection' in outcome ? [[claims[n]?.instance_uuid as string, outcome.selection]] : [],
      ),
    )
  }

  /** All of one moment: in between, another scheduler may claim for them all. Those that are void have none. */
  async #madeBefore(members: readonly Member[]): Promise<ReadonlyMap<string, Selection> | undefined> {
    const made = await this.#deps.placement.claimsOf(members.flatMap(([request]) => (request ? [request.spec] : [])))
    return made.size > 0 ? made : undefined
  }
}

function asRefusal(error: unknown): NoValidHost {
  if (error instanceof NoValidHost) return error
  throw error
}

/** Members of the batch that are to be on a host count in their group as if they were there. */
function withDrafts(request: SchedulingRequest, drafts: readonly Draft[]): SchedulingRequest {
  const { hinted } = request
  if (hinted?.group === undefined) return request
  const members = new Map(hinted.group.members)
  for (const { claim } of drafts) members.set(claim.selection.host, (members.get(claim.selection.host) ?? 0) + 1)
  return { ...request, hinted: { ...hinted, group: { ...hinted.group, members } } }
}

function short(report: Selection['report']): Selection['report'] {
  return { ...report, rejections: report.rejections.slice(0, NAMED), ranking: report.ranking.slice(0, NAMED) }
}

function refusedBatch({ message, details }: NoValidHost, fitting: number, asked: number): NoValidHost {
  return new NoValidHost(`all or nothing, but only ${fitting} of ${asked} instances fit; beside those: ${message}`, {
    ...details,
    fitting,
    asked,
  })
}

function lostBatch(members: readonly Member[], refusal: ClaimRefused): NoValidHost {
  return new NoValidHost(
    `all or nothing, and each time others were faster with some of the ${members.length} places; the last one lost: ${refusal.message}`,
    { asked: members.length, fix: 'try again: other claims were faster' },
  )
}
