import { MEMORY_MB } from '../../objects/resources.ts'
import { fitsBesidePinned } from '../host-state.ts'
import type { HostFilter } from './host-filter.ts'

/**
 * Drops hosts whose memory would suffice only by lending out what is pinned: encrypted guests cannot be swapped out. On
 * hosts without overcommit it has nothing to say; what does not fit there, `Resources` tells.
 */
export const pinnedMemory: HostFilter = {
  name: 'PinnedMemory',
  fix: 'set ram_allocation_ratio=1 on hosts of encrypted guests, delete instances there, or add a host',
  reject: ({ root }, { resources }) => {
    const memory = root.inventories[MEMORY_MB]
    const amount = resources.root[MEMORY_MB] ?? 0
    if (memory === undefined || !memory.offered || memory.used + amount > memory.capacity) return undefined
    if (fitsBesidePinned(memory, amount, resources.pinsMemory)) return undefined
    const { used, capacity, pinned, total, reserved, allocation_ratio: ratio } = memory
    const pins = resources.pinsMemory ? ', to be pinned' : ''
    return `MEMORY_MB: ${amount} asked${pins}, ${used} of ${capacity} used, ${pinned} of it pinned; what is pinned is not overcommitted (${total} in all, ${reserved} reserved, ratio ${ratio})`
  },
}
