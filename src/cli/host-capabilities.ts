import { existsSync } from 'node:fs'
import { dirname } from 'node:path'
import { connectLibvirt, simulatedHost } from '../compose/compute-host.ts'
import { hostOptions, slotLimits } from '../compose/host-options.ts'
import { offeredDiskGb } from '../compute/disks/disk-space.ts'
import { fakeCapabilities } from '../compute/fake/fake-capabilities.ts'
import { readHostFacts } from '../compute/libvirt/driver/host-facts.ts'
import { nodeResources } from '../compute/libvirt/driver/node-resources.ts'
import { decideHostCapabilities } from '../compute/libvirt/host-capabilities.ts'
import { limitSlots } from '../compute/libvirt/slot-limits.ts'
import type { Config } from '../config.ts'
import { createLogger } from '../logger.ts'
import { EXIT } from './exit-codes.ts'
import type { DescribedHost } from './lint/host-file.ts'
import { note, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig, timeoutOf } from './session.ts'

/**
 * Writes down the host of the configuration, for `lint` and `xml`. A simulated one asks nobody; a real one its libvirt and
 * its kernel, and neither broker nor worker.
 */
export async function hostCapabilities(options: GlobalOptions & { readonly host?: string }): Promise<number> {
  const config = loadCliConfig(options, options.host)
  const { host, driver } = config.compute
  const found = driver === 'fake' ? simulated(config) : await real(config, options)
  const { capabilities, warnings } = limitSlots(found.capabilities, slotLimits(config.compute))
  for (const warning of warnings) note(warning)
  const described: DescribedHost = { host, capabilities, resources: found.resources }
  printJson(described)
  return EXIT.OK
}

type Found = Pick<DescribedHost, 'capabilities' | 'resources'>

function simulated(config: Config): Found {
  const { vcpus, memory_mb, disk_gb } = config.fake
  return { capabilities: fakeCapabilities(simulatedHost(config)), resources: { vcpus, memory_mb, disk_gb } }
}

async function real(config: Config, options: GlobalOptions): Promise<Found> {
  const libvirt = connectLibvirt(config, createLogger('host-capabilities', options.debug ? 'debug' : 'silent'))
  const signal = AbortSignal.timeout(timeoutOf(options))
  try {
    const facts = await readHostFacts(libvirt, hostOptions(config), signal)
    const disk_gb = await offeredDiskGb(existing(config.compute.instances_path))
    return {
      capabilities: decideHostCapabilities(facts),
      resources: { ...(await nodeResources(libvirt, signal)), disk_gb },
    }
  } finally {
    await libvirt.close()
  }
}

/** A worker that never ran has not made the folder: its file system has the folder that is there. */
function existing(folder: string): string {
  return existsSync(folder) ? folder : existing(dirname(folder))
}
