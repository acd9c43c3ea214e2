import type { HostResources } from '../../virt-driver.ts'
import type { Libvirt } from '../rpc/libvirt.ts'

const KIB_PER_MIB = 1024

/** Processors and memory of libvirt's machine. */
export async function nodeResources(
  libvirt: Pick<Libvirt, 'nodeGetInfo'>,
  signal: AbortSignal,
): Promise<Pick<HostResources, 'vcpus' | 'memory_mb'>> {
  const { cpus, memoryKib } = await libvirt.nodeGetInfo({ signal })
  return { vcpus: cpus, memory_mb: Math.floor(Number(memoryKib) / KIB_PER_MIB) }
}
