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
import type { Claim, ClaimOutcome } from './placement/claim.ts'
import type { Placement } from './placement/placement.ts'
import { mostTogether } from './room-together.ts'
import { schedulingReport } from './scheduling-report.ts'
import type { SchedulingRequest } from './scheduling-request.ts'
import { WAITS } from './select-destination.ts'

/** How often a batch that fits in memory may be lost to faster claims before it is given up. */
const LOOKS = 5
/** How many hosts are tried for a batch that must be on one, beside the best for its first. */
const ELSEWHERE = 20
const WITHOUT_ROOM = 'it has no room for all of them'
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
  async select(members: readonly Member[], info: RequestInfo): Promise<ReadonlyMap<string, Selection>> {
    const { hosts } = this.#deps
    for (let look = 1; ; look++) {
      info.signal.throwIfAborted()
      const made = await this.#tryOnce(members, look, info)
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
    info: RequestInfo,
  ): Promise<ReadonlyMap<string, Selection> | ClaimRefused | undefined> {
    const drafts: Draft[] = []
    const known = await this.#withHints(members, info)
    const lacking = await this.#draftAll(known, drafts).catch((error: unknown) => {
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
  async #withHints(members: readonly Member[], { context }: RequestInfo): Promise<readonly Member[]> {
    const known: Member[] = []
    for (const member of members) {
      const [first] = member
      const hinted = first && (await this.#deps.placement.hintedHosts(first.spec, context))
      known.push(hinted ? member.map((request) => ({ ...request, hinted })) : member)
    }
    return known
  }

  /** @returns the first that finds no host, and why; undefined: each has one */
  async #draftAll(members: readonly Member[], drafts: Draft[]): Promise<Lacking | undefined> {
    const lacking = await this.#draft(members, drafts)
    const [first] = members
    const best = drafts[0]?.claim.selection.host
    if (lacking === undefined || first === undefined || best === undefined || !isTogether(first)) return lacking
    // The best host for one draws all the others after it, and has no room for them: another one may.
    const tooSmall = new Map([[best, WITHOUT_ROOM]])
    for (const host of this.#deps.hosts.table.list()) {
      if (mostTogether(host, first) < members.length) tooSmall.set(host.host, WITHOUT_ROOM)
    }
    for (let tries = 0; tries < ELSEWHERE; tries++) {
      const others: Draft[] = []
      const again = await this.#draft(members, others, tooSmall).catch((error: unknown) => {
        for (const { onItsWay } of others) onItsWay.failed()
        throw error
      })
      if (again === undefined) {
        for (const { onItsWay } of drafts.splice(0, drafts.length, ...others)) onItsWay.failed()
        return undefined
      }
      for (const { onItsWay } of others) onItsWay.failed()
      const tried = others[0]?.claim.selection.host
      if (tried === undefined) break
      tooSmall.set(tried, WITHOUT_ROOM)
    }
    return lacking
  }

  /** @param without hosts that the first must not have, and why; @returns as `#draftAll` */
  async #draft(
    members: readonly Member[],
    drafts: Draft[],
    without?: ReadonlyMap<string, string>,
  ): Promise<Lacking | undefined> {
    for (const asked of members) {
      const member = asked.map((request) => withDrafts(request, drafts))
      const draft = await this.#draftOne(member, drafts.length === 0 ? without : undefined).catch(asRefusal)
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
  async #draftOne(member: Member, without?: ReadonlyMap<string, string>): Promise<Draft> {
    const { chooser, hosts, filters } = this.#deps
    let onItsWay: ClaimInFlight | undefined
    const selection = await firstModel(member, async (request) => {
      const { best, rejections, passed } = chooser.consider(request, without)
      const [first] = best
      const allocations = first && allocationsOn(first.host, request.resources)
      if (first === undefined || allocations === undefined) throw noValidHost(request, rejections, filters)
      onItsWay = hosts.table.begin(first.place, allocations)
      const report = short(reportOfModel(request, schedulingReport(rejections, best, passed)))
      return { host: first.host.host, attempt: request.spec.attempt, allocations: [...allocations], report }
    })
    const [request] = member
    const instance_uuid = request?.spec.instance_uuid as string
    return { claim: { instance_uuid, selection, told: request?.told?.() }, onItsWay: onItsWay as ClaimInFlight }
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

/** Must they be on one host, which none of their group decides yet? */
function isTogether([request]: Member): boolean {
  const group = request?.hinted?.group
  return group?.policy === 'affinity' && group.members.size === 0
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
  if (fitting === 0) {
    return new NoValidHost(`all or nothing, but none of ${asked} instances fits: ${message}`, {
      ...details,
      fitting,
      asked,
    })
  }
  // Else who reads that slots are in use would look for instances that are not there.
  const told = `all or nothing, but only ${fitting} of ${asked} instances fit; with those ${fitting} counted as if they were there: ${message}`
  const fix = `ask for ${fitting} at most, or for as many as fit; or ${details.fix}`
  return new NoValidHost(told, { ...details, fix, fitting, asked })
}

function lostBatch(members: readonly Member[], refusal: ClaimRefused): NoValidHost {
  return new NoValidHost(
    `all or nothing, and each time others were faster with some of the ${members.length} places; the last one lost: ${refusal.message}`,
    { asked: members.length, fix: 'try again: other claims were faster' },
  )
}
