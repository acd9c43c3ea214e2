import type { Finding } from './finding.ts'
import type { InventoryLook, Observation } from './observation.ts'

/** The scheduler's own tables, held against themselves: no host need answer for that. */
export function inventoryFindings({ scope }: Observation, inventory: InventoryLook): readonly Finding[] {
  return scope.has(inventory.host) ? [...miscount(inventory), ...overcommit(inventory)] : []
}

function miscount(inventory: InventoryLook): readonly Finding[] {
  const { provider, resource_class, used, pinned, allocated, allocated_pinned } = inventory
  if (used === allocated && pinned === allocated_pinned) return []
  return [
    {
      ...aboutHost('miscount', inventory),
      problem: `${resource_class} of ${provider}: counted as used ${used} (pinned ${pinned}), allocated ${allocated} (pinned ${allocated_pinned})`,
      numbers: { used, pinned, allocated, allocated_pinned },
      advice: 'the tables were written around their triggers: set it right in one transaction, and find out by whom',
    },
  ]
}

/** Nothing more goes in; what is there stays until somebody decides. */
function overcommit(inventory: InventoryLook): readonly Finding[] {
  const { provider, resource_class, used, pinned, capacity, offered, fits } = inventory
  if (used === 0 || (offered && fits)) return []
  return [
    {
      ...aboutHost('overcommit', inventory),
      problem: offered
        ? `${resource_class} of ${provider}: ${used} used${pinned > 0 ? `, ${pinned} of it pinned,` : ''} of ${capacity}: the host has shrunk under its guests`
        : `${resource_class} of ${provider}: ${used} used, and the host offers none any more`,
      numbers: { used, pinned, capacity: offered ? capacity : 0 },
      advice: 'no new guest gets any of it; give the host back what it had, or move or delete guests there',
    },
  ]
}

function aboutHost(kind: 'miscount' | 'overcommit', { host }: InventoryLook) {
  return { kind, host, uuid: undefined, instance: undefined, version: [], repair: undefined } as const
}
