import type { InventoryRow } from './tables.ts'

/** Placement's arithmetic once more, in words of our own: what is checked must not be what checks. */
function capacityOf({ total, reserved, allocation_ratio }: InventoryRow): number {
  return Math.floor((total - reserved) * allocation_ratio + 1e-9)
}

/** Is no more given than there is, and what is pinned given only once? */
export function holds(inventory: InventoryRow, used = inventory.used, pinned = inventory.pinned): boolean {
  const real = inventory.total - inventory.reserved
  const lent = Math.max(inventory.allocation_ratio, 1)
  return used <= capacityOf(inventory) && pinned <= real && used - pinned <= Math.floor((real - pinned) * lent + 1e-9)
}

/** Would this much more be given out? */
export function hasRoom(inventory: InventoryRow | undefined, amount: number, isPinned: boolean): boolean {
  if (inventory === undefined || !inventory.offered) return false
  const { used, pinned, min_unit, max_unit, step_size } = inventory
  if (amount < min_unit || amount > max_unit || amount % step_size !== 0) return false
  return holds(inventory, used + amount, pinned + (isPinned ? amount : 0))
}
