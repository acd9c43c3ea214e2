import { MEM_ENCRYPTION_MODELS } from '../../../objects/mem-encryption.ts'
import type { Configurator } from './configurator.ts'

/**
 * SEV and SEV-ES: the memory controller's key makes a page unreadable at another place, so none may move. Without a
 * hard limit libvirt lifts the process's memlock limit altogether (the spec, "Memory locking and accounting").
 */
export const memoryLocking: Configurator = (domain, { encryption }) =>
  encryption !== undefined && MEM_ENCRYPTION_MODELS[encryption.model].locksMemory
    ? { ...domain, memoryLocked: true }
    : domain
