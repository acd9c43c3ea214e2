import { z } from 'zod'

const Amount = z.int().min(0).max(2_147_483_647)

/** How much of one resource class a provider has. Meanings and names: OpenStack Placement's inventory. */
export const Inventory = z.strictObject({
  total: Amount.min(1),
  reserved: Amount.default(0),
  min_unit: Amount.min(1).default(1),
  max_unit: Amount.min(1).default(2_147_483_647),
  step_size: Amount.min(1).default(1),
  allocation_ratio: z.number().positive().max(1000).default(1),
})
export type Inventory = z.infer<typeof Inventory>

/** What may be allocated in all: `(total - reserved) * allocation_ratio`, rounded down, as Placement computes it. */
export function capacity(inventory: Inventory): number {
  return Math.floor((inventory.total - inventory.reserved) * inventory.allocation_ratio)
}
