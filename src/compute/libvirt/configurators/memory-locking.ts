import type { Configurator } from './configurator.ts'

/**
 * For SEV and SEV-ES, whose key makes a page unreadable at another place, so that none may move, and for guests in
 * clear that ask. Without a hard limit libvirt lifts the process's memlock limit altogether (the spec, "Memory locking
 * and accounting").
 */
export const memoryLocking: Configurator = (domain, { memoryBacking }) =>
  memoryBacking.locked ? { ...domain, memoryLocked: true } : domain
