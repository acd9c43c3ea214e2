import { simulatedHost, slotLimits } from '../compose/compute-host.ts'
import { fakeCapabilities } from '../compute/fake/fake-virt-driver.ts'
import { limitSlots } from '../compute/libvirt/slot-limits.ts'
import { EXIT } from './exit-codes.ts'
import type { DescribedHost } from './lint/host-file.ts'
import { note, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

/** Writes down the simulated host of the configuration, for `lint` and `xml`; asks nobody. */
export async function hostCapabilities(options: GlobalOptions & { readonly host?: string }): Promise<number> {
  const config = loadCliConfig(options, options.host)
  const { host } = config.compute
  const { vcpus, memory_mb, disk_gb } = config.fake
  const { capabilities, warnings } = limitSlots(fakeCapabilities(simulatedHost(config)), slotLimits(config.compute))
  for (const warning of warnings) note(warning)
  const described: DescribedHost = { host, capabilities, resources: { vcpus, memory_mb, disk_gb } }
  printJson(described)
  return EXIT.OK
}
