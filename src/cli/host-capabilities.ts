import { fakeCapabilities } from '../compute/fake/fake-virt-driver.ts'
import { EXIT } from './exit-codes.ts'
import type { DescribedHost } from './lint/host-file.ts'
import { printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

/** Writes down the simulated host of the configuration, for `lint` and `xml`; asks nobody. */
export async function hostCapabilities(options: GlobalOptions & { readonly host?: string }): Promise<number> {
  const { fake, compute } = loadCliConfig(options, options.host)
  const { vcpus, memory_mb, disk_gb } = fake
  const described: DescribedHost = {
    host: compute.host,
    capabilities: fakeCapabilities(fake),
    resources: { vcpus, memory_mb, disk_gb },
  }
  printJson(described)
  return EXIT.OK
}
