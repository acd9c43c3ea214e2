import { openFakeHost } from '../../src/compute/fake/fake-virt-driver.ts'
import { driverContract } from './support/driver-contract.ts'
import { aFolder } from './support/folders.ts'

driverContract({
  name: 'simulated host',
  async machine({ sevSlots, spawnDelayMs = 0 }) {
    const folder = await aFolder()
    return { open: () => openFakeHost({ folder, sev_slots: sevSlots, spawn_delay_ms: spawnDelayMs }) }
  },
})
