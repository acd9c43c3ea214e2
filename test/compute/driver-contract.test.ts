import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { driverContract } from './support/driver-contract.ts'
import { aFolder } from './support/folders.ts'

driverContract({
  name: 'simulated host',
  async machine({ sevSlots, spawnDelayMs = 0 }) {
    const folder = await aFolder()
    const network = { kind: 'bridge', bridge: 'br0' } as const
    return {
      options: { volumeFolders: ['/srv/volumes'], attachableNetworks: [network] },
      network,
      volume: async () => '/srv/volumes/data.raw',
      open: () => openFakeHost({ folder, sev_slots: sevSlots, spawn_delay_ms: spawnDelayMs }),
    }
  },
})
