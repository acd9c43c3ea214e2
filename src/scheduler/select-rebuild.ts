import { ClaimRefused } from '../errors.ts'
import type { Selection } from '../objects/request-spec.ts'
import type { Rejection } from '../objects/scheduling-report.ts'
import { filterHosts } from './filter-hosts.ts'
import type { HostFilter } from './filters/host-filter.ts'
import { allocationsOn, type HostState } from './host-state.ts'
import type { HostView } from './hosts/host-view.ts'
import { reportOfModel } from './models-in-order.ts'
import { LOST_CLAIM, noValidHost } from './no-valid-host.ts'
import type { Placement } from './placement/placement.ts'
import { moreOfBoth, withoutClaim } from './rebuild-claim.ts'
import { schedulingReport, summaryOf } from './scheduling-report.ts'
import type { SchedulingRequest } from './scheduling-request.ts'

export interface RebuildDeps {
  readonly placement: Pick<Placement, 'claimOf' | 'grant' | 'held'>
  readonly hosts: HostView
  readonly filters: readonly HostFilter[]
}

/**
 * Judges the host of an instance that is to be rebuilt there, as if that were not there, by every filter but those about who
 * may come, and changes its claim. Nova asks a few of them, and claims nothing.
 */
export class RebuildSelector {
  readonly #deps: RebuildDeps
  readonly #filters: readonly HostFilter[]

  constructor(deps: RebuildDeps) {
    this.#deps = deps
    this.#filters = deps.filters.filter(({ isForComers }) => !isForComers)
  }

  /** @throws NoValidHost, StaleAttempt */
  async select(request: SchedulingRequest): Promise<Selection> {
    const { placement, hosts, filters } = this.#deps
    const { spec } = request
    const made = await placement.claimOf(spec)
    if (made !== undefined) return made
    const held = await placement.held(spec.instance_uuid)
    await hosts.settle()
    await hosts.refreshAll()
    const [name = ''] = spec.force_hosts
    const [host] = hosts.table.list([name])
    if (host === undefined || held?.host !== name) {
      throw refused(request, filters, {
        host: name,
        filter: LOST_CLAIM,
        reason: 'the instance has nothing claimed here',
      })
    }
    const there = mayStayOn(withoutClaim(host, held.allocations))
    const { rejections } = filterHosts([there], request, this.#filters)
    const [rejection] = rejections
    const becomes = rejection ? undefined : allocationsOn(there, request.resources)
    if (becomes === undefined) {
      throw refused(
        request,
        filters,
        rejection ?? { host: name, filter: LOST_CLAIM, reason: 'no pool has what was asked' },
      )
    }
    const report = reportOfModel(request, schedulingReport(summaryOf([]), [{ host, weight: 0, weights: {} }]))
    const selection = {
      host: name,
      attempt: spec.attempt,
      allocations: [...moreOfBoth(held.allocations, becomes)],
      report,
    }
    try {
      const { instance_uuid, migration } = spec
      const claimed = await placement.grant({ instance_uuid, selection, migration, becomes, told: request.told?.() })
      return claimed.isNew ? { ...claimed.selection, allocations: [...becomes] } : claimed.selection
    } catch (error) {
      if (!(error instanceof ClaimRefused)) throw error
      throw refused(request, filters, { host: name, filter: LOST_CLAIM, reason: error.message })
    }
  }
}

/** Out of service it takes nobody new; who is there already may be rebuilt. */
function mayStayOn(host: HostState): HostState {
  return { ...host, disabled: false, disabledReason: undefined, failedBuilds: 0 }
}

function refused(request: SchedulingRequest, filters: readonly HostFilter[], rejection: Rejection) {
  return noValidHost(request, summaryOf([rejection]), filters)
}
