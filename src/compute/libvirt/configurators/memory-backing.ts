import type { MemoryPageSize } from '../../../objects/memory-page-size.ts'
import type { MemoryBackingSpec } from '../domain-spec.ts'
import type { Configurator } from './configurator.ts'

/** Ordinary pages of x86: who asks for these asks for no huge ones. */
const ORDINARY_PAGE_KIB = 4

/**
 * Locked for SEV and SEV-ES, whose key makes a page unreadable at another place, so that none may move, and for guests
 * in clear that ask. Without a hard limit libvirt lifts the process's memlock limit altogether (the spec, "Memory
 * locking and accounting").
 */
export const memoryBacking: Configurator = (domain, { memoryBacking: { locked, pageSize } }) => ({
  ...domain,
  memoryBacking: { ...domain.memoryBacking, locked, hugepages: hugepages(pageSize) },
})

/** `any` leaves it to the host, which has ordinary pages always. */
function hugepages(pageSize: MemoryPageSize | undefined): MemoryBackingSpec['hugepages'] {
  if (pageSize === 'large') return 'default'
  if (typeof pageSize !== 'object' || pageSize.kib === ORDINARY_PAGE_KIB) return undefined
  return pageSize
}
