import type { Database } from '../../database/database.ts'
import type { ToldServerGroup } from '../../notifications/server-group-payload.ts'
import type { HostReport, UnchangedHost } from '../../objects/host-report.ts'
import type { RequestSpec, Selection } from '../../objects/request-spec.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import type { HintedHosts } from '../hinted-hosts.ts'
import type { HostState } from '../host-state.ts'
import { DOWN_AFTER_INTERVALS } from '../liveness.ts'
import { type Telling, type Told, toldOf } from '../telling.ts'
import type { Claim, Claimed, ClaimOutcome, Try } from './claim.ts'
import { claimGroup } from './claim-group.ts'
import { claimOf, claimsOf, heldBy } from './claims-made.ts'
import {
  changesSince,
  type HostChanges,
  type HostSeen,
  hostsSeen,
  type Noted,
  noteDown,
  noteSeen,
  type ToldOfHost,
} from './feed.ts'
import { GroupQueue } from './group-queue.ts'
import { hintedHosts } from './hinted-hosts.ts'
import { type HostRecord, recordHost, reportDigest } from './host-records.ts'
import { hostStates } from './host-states.ts'
import { releaseGroup } from './release-group.ts'
import { toldGroup } from './told-group.ts'
import { noteLeft, refuseUnchanged, type WorkerLeft, workersOf } from './worker-hold.ts'

/** What the scheduler needs from placement. Small on purpose: a fake is twenty lines. */
export interface Placement {
  /** Hosts by name, or all. May be stale at once: the claim decides. */
  hostStates(names?: readonly string[]): Promise<readonly HostState[]>
  /**
   * Where those are that the hints of a request speak of; undefined when it has none. It becomes a member of its group.
   *
   * @throws InstanceGroupNotFound
   */
  hintedHosts(
    spec: Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>,
    context?: RequestContext,
  ): Promise<HintedHosts | undefined>
  /** The group that a request names, for those who are told of it; undefined: none. */
  toldGroup(spec: Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>): Promise<ToldServerGroup | undefined>
  /** @throws StaleAttempt */
  claimOf(asked: Try): Promise<Selection | undefined>
  /** All that an instance has, under whatever try; undefined: nothing. */
  held(instanceUuid: string): Promise<Pick<Selection, 'host' | 'allocations'> | undefined>
  /** The claims that these tries have, of one moment, by instance. */
  claimsOf(asked: readonly Try[]): Promise<ReadonlyMap<string, Selection>>
  /** @throws ClaimRefused, StaleAttempt */
  claim(instanceUuid: string, selection: Selection): Promise<Selection>
  /**
   * `claim` that tells the inventories too. What is asked while claims are on their way goes together in the next
   * statement.
   *
   * @throws ClaimRefused, StaleAttempt
   */
  grant(claim: Claim): Promise<Claimed>
  /** Grants all of these, of different instances, or none: an outcome for each, in their order. */
  claimAll(claims: readonly Claim[]): Promise<readonly ClaimOutcome[]>
  release(released: Try): Promise<string | undefined>
  /** @throws InvalidInventory, DuplicateHost, StaleReport */
  recordHost(report: HostReport, context?: RequestContext): Promise<HostRecord>
  /** Hosts that changed since the cursor of the last answer; all of them without one. */
  changesSince(cursor?: string): Promise<HostChanges>
  /** Signs of life at or after `since`; of all hosts without it. */
  hostsSeen(since?: Date): Promise<readonly HostSeen[]>
  /**
   * Takes reports as signs of life only, many in one statement.
   *
   * @returns those that say what is known, of workers that are taken; the others must be recorded
   */
  noteSeen(told: readonly ToldOfHost[]): Promise<readonly Noted[]>
  /** Of one that was not noted. @throws DuplicateHost, StaleReport, InvalidInventory */
  refuseUnchanged(unchanged: UnchangedHost): Promise<void>
  /** Where the workers are whose reports of these hosts are taken, by host; without those that do not say. */
  workersOf(hosts: readonly string[]): Promise<ReadonlyMap<string, string>>
  /** The worker of a host stops. @returns whether it was the one that is taken */
  noteLeft(left: WorkerLeft): Promise<boolean>
  /** Until their next sign of life. */
  noteDown(hosts: readonly string[]): Promise<void>
}

/**
 * Larger groups hold their locks for longer and cost no less. Two at once let one be computed while the other is on its way,
 * where there are enough claims for both: two of 8 cost a sixth more than one of 16, and are sooner done where a core is
 * slow beside its disk (bench/README.md).
 */
const GROUPS = { key: (of: Pick<Try, 'instance_uuid'>) => of.instance_uuid, size: 64, inFlight: 2, alongside: 8 }

interface PlacementOptions {
  readonly downAfterIntervals?: number
  /** Undefined: nobody is told of what happens here. */
  readonly telling?: Telling | undefined
}

/** Placement in the tables of `schema.ts`. Any number of schedulers may share them. */
export class DatabasePlacement implements Placement {
  readonly #database: Database
  readonly #downAfterIntervals: number
  readonly #telling: Telling | undefined
  readonly #claims: GroupQueue<Claim, ClaimOutcome>
  readonly #releases: GroupQueue<Try, string | undefined>

  constructor(database: Database, { downAfterIntervals = DOWN_AFTER_INTERVALS, telling }: PlacementOptions = {}) {
    this.#database = database
    this.#telling = telling
    this.#downAfterIntervals = downAfterIntervals
    this.#claims = new GroupQueue<Claim, ClaimOutcome>((claims) => claimGroup(database, claims, { telling }), GROUPS)
    this.#releases = new GroupQueue<Try, string | undefined>((releases) => releaseGroup(database, releases), GROUPS)
  }

  #told(context: RequestContext | undefined): Told {
    return context && toldOf(this.#telling, context)
  }

  hostStates(names?: readonly string[]): Promise<readonly HostState[]> {
    return hostStates(this.#database, this.#downAfterIntervals, names)
  }

  hintedHosts(
    spec: Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>,
    context?: RequestContext,
  ): Promise<HintedHosts | undefined> {
    return hintedHosts(this.#database, spec, this.#told(context))
  }

  toldGroup(spec: Pick<RequestSpec, 'instance_uuid' | 'scheduler_hints'>): Promise<ToldServerGroup | undefined> {
    return toldGroup(this.#database, spec)
  }

  held(instanceUuid: string): Promise<Pick<Selection, 'host' | 'allocations'> | undefined> {
    return heldBy(this.#database, instanceUuid)
  }

  claimOf(asked: Try): Promise<Selection | undefined> {
    return claimOf(this.#database, asked)
  }

  claimsOf(asked: readonly Try[]): Promise<ReadonlyMap<string, Selection>> {
    return claimsOf(this.#database, asked)
  }

  async claim(instanceUuid: string, selection: Selection): Promise<Selection> {
    return (await this.grant({ instance_uuid: instanceUuid, selection })).selection
  }

  async grant(claim: Claim): Promise<Claimed> {
    const outcome = await this.#claims.add(claim)
    if ('selection' in outcome) return outcome
    throw outcome
  }

  claimAll(claims: readonly Claim[]): Promise<readonly ClaimOutcome[]> {
    return claimGroup(this.#database, claims, { allOrNothing: true, telling: this.#telling })
  }

  release(released: Try): Promise<string | undefined> {
    return this.#releases.add(released)
  }

  async recordHost(report: HostReport, context?: RequestContext): Promise<HostRecord> {
    const recorded = await recordHost(this.#database, report, this.#told(context))
    if (recorded.isTold) this.#telling?.announce()
    return recorded
  }

  changesSince(cursor?: string): Promise<HostChanges> {
    return changesSince(this.#database, this.#downAfterIntervals, cursor)
  }

  hostsSeen(since?: Date): Promise<readonly HostSeen[]> {
    return hostsSeen(this.#database, since)
  }

  noteSeen(told: readonly ToldOfHost[]): Promise<readonly Noted[]> {
    const digestOf = (one: ToldOfHost) => ('report_digest' in one ? one.report_digest : reportDigest(one))
    return noteSeen(
      this.#database,
      told.map((one) => ({ told: one, digest: digestOf(one) })),
    )
  }

  refuseUnchanged(unchanged: UnchangedHost): Promise<void> {
    return refuseUnchanged(this.#database, unchanged)
  }

  workersOf(hosts: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return workersOf(this.#database, hosts)
  }

  noteLeft(left: WorkerLeft): Promise<boolean> {
    return noteLeft(this.#database, left)
  }

  noteDown(hosts: readonly string[]): Promise<void> {
    return noteDown(this.#database, hosts)
  }
}
