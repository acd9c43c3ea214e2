import type { HostSummary } from '../../objects/host-report.ts'
import type { Instance } from '../../objects/instance.ts'
import type { SchedulingReport } from '../../objects/scheduling-report.ts'
import type { BillingFacts } from '../notification-view.ts'

/** A request that the cloud said no to: before any host was asked, or because none could take it. */
export interface Refusal {
  readonly name: string
  readonly instance_uuid: string | null
  readonly code: string
  readonly message: string
  /** Host by host; null when no host was asked. */
  readonly report: SchedulingReport | null
}

export interface Totals {
  readonly requested: number
  readonly active: number
  readonly encrypted_active: number
  readonly error: number
  readonly deleted: number
  readonly refused_by_conductor: number
  readonly slots_used: number
  readonly slots_usable: number
  readonly notifications: number
  /** From the request to ACTIVE, over all that became so, in milliseconds. */
  readonly boot_ms: { readonly median: number; readonly max: number }
  readonly elapsed_ms: number
}

/** Everything the demo shows, as data: what `--json` prints, and what the screens draw. */
export interface DemoFacts {
  readonly hosts: readonly HostSummary[]
  readonly instances: readonly Instance[]
  readonly refusals: readonly Refusal[]
  readonly notifications: readonly BillingFacts[]
  readonly totals: Totals
}

/** What is known so far, and how it is told on: one of the screens, or nobody. */
export interface DemoObserver {
  step(title: string): void
  instance(instance: Instance, before: Instance | undefined): void
  refusal(refusal: Refusal): void
  notification(facts: BillingFacts): void
  hosts(hosts: readonly HostSummary[]): void
  end(facts: DemoFacts): void
}

export function totals(facts: Omit<DemoFacts, 'totals'>, elapsedMs: number): Totals {
  const { hosts, instances, refusals, notifications } = facts
  const inState = (state: Instance['vm_state']) => instances.filter(({ vm_state }) => vm_state === state)
  const pools = hosts.flatMap(({ providers }) => providers.filter(({ model }) => model !== null))
  const slots = pools.flatMap(({ inventories }) => Object.values(inventories))
  const bootMs = instances.flatMap(({ launched_at, created_at }) =>
    launched_at === null ? [] : [Date.parse(launched_at) - Date.parse(created_at)],
  )
  const sorted = bootMs.toSorted((a, b) => a - b)
  return {
    requested: instances.length + refusals.filter(({ instance_uuid }) => instance_uuid === null).length,
    active: inState('active').length,
    encrypted_active: inState('active').filter(({ mem_encryption }) => mem_encryption !== null).length,
    error: inState('error').length,
    deleted: inState('deleted').length,
    refused_by_conductor: refusals.filter(({ instance_uuid }) => instance_uuid === null).length,
    slots_used: slots.reduce((sum, { used }) => sum + used, 0),
    slots_usable: slots.reduce((sum, { capacity }) => sum + capacity, 0),
    notifications: notifications.length,
    boot_ms: { median: sorted[Math.floor(sorted.length / 2)] ?? 0, max: sorted.at(-1) ?? 0 },
    elapsed_ms: Math.round(elapsedMs),
  }
}
