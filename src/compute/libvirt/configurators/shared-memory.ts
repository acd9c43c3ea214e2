import type { Configurator } from './configurator.ts'

/** A process beside QEMU that serves a device out of the guest's memory can do so only where that can be mapped. */
export const sharedMemory: Configurator = (domain) => {
  const isShared = domain.filesystems.length > 0 || domain.interfaces.some(({ source }) => source.kind === 'vhostuser')
  return isShared ? { ...domain, memoryBacking: { ...domain.memoryBacking, shared: true } } : domain
}
