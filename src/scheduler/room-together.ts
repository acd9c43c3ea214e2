import { free, type HostState, poolsFor } from './host-state.ts'
import type { SchedulingRequest } from './scheduling-request.ts'

/**
 * How many instances that ask for the same a host can have at most, by what is free there; drafts and the database find
 * out whether that many really fit.
 *
 * @param models one request for each model that will do
 */
export function mostTogether(host: HostState, models: readonly SchedulingRequest[]): number {
  const byRoot = models.map(({ resources }) =>
    Math.min(
      ...Object.entries(resources.root).map(([name, amount]) => timesIn(free(host.root.inventories[name]), amount)),
    ),
  )
  if (models.some(({ resources }) => resources.pool === undefined)) return Math.max(...byRoot)
  // Each may get another model, of another pool.
  const slots = new Map<string, number>()
  for (const { resources } of models) {
    for (const { name, inventories } of poolsFor(host, resources)) {
      const amounts = Object.entries(resources.pool?.resources ?? {})
      slots.set(name, Math.min(...amounts.map(([name, amount]) => timesIn(free(inventories[name]), amount))))
    }
  }
  return Math.min(
    Math.max(...byRoot),
    [...slots.values()].reduce((sum, some) => sum + some, 0),
  )
}

function timesIn(available: number, amount: number): number {
  return amount > 0 ? Math.floor(available / amount) : Number.POSITIVE_INFINITY
}
