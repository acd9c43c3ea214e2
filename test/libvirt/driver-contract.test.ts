import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { describe, onTestFinished } from 'vitest'
import { openGuestDisks } from '../../src/compute/disks/open-guest-disks.ts'
import { NO_FIRMWARE_FILES } from '../../src/compute/libvirt/domain-options.ts'
import { LibvirtVirtDriver } from '../../src/compute/libvirt/driver/libvirt-virt-driver.ts'
import { Libvirt } from '../../src/compute/libvirt/rpc/libvirt.ts'
import { driverContract, type Machine } from '../compute/support/driver-contract.ts'
import { anInstance } from '../compute/support/instances.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing = await whyNoSevLibvirt()
const MIB = 1024 * 1024

/** A libvirt and a QEMU of its own, with the secure processor emulated: `sevSlots` ASIDs, none of them for SEV-ES. */
async function machine({ sevSlots, spawnDelayMs = 0 }: { sevSlots: number; spawnDelayMs?: number }): Promise<Machine> {
  const sev = sevSlots > 0 && { max_asid: sevSlots, min_sev_asid: 1 }
  const host = await startLibvirt({ name: 'contract', ...(sev && { sev }) })
  onTestFinished(() => host.stop())
  const imageFolder = join(host.folder, 'images')
  await mkdir(imageFolder)
  await writeFile(join(imageFolder, `${anInstance().image.id}.raw`), Buffer.alloc(MIB))
  const instancesPath = join(host.folder, 'instances')
  const volumes = join(host.folder, 'volumes')
  const network = { kind: 'bridge', bridge: 'br0' } as const
  return {
    options: {
      instancesPath,
      virtType: host.virtType,
      cpuMode: 'none',
      network: { kind: 'none' },
      volumeFolders: [volumes],
      attachableNetworks: [network],
      numPciePorts: 12,
    },
    network,
    async volume() {
      await mkdir(volumes)
      await host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
      await writeFile(join(volumes, 'data.raw'), Buffer.alloc(MIB))
      return join(volumes, 'data.raw')
    },
    guests: { flavor: { memory_mb: 64, root_gb: 1 } },
    async open() {
      const driver = await openDriver(host, { instancesPath, imageFolder })
      // libvirt asks the processor once, and must not wait for it as guests shall.
      await driver.capabilities(new AbortController().signal)
      if (sev) await host.sev?.configure({ ...sev, delay_ms: spawnDelayMs })
      return driver
    },
  }
}

async function openDriver(host: PrivateLibvirt, folders: { instancesPath: string; imageFolder: string }) {
  const disks = await openGuestDisks(
    {
      ...folders,
      imageUrl: undefined,
      imageMaxBytes: 100 * MIB,
      imageTimeoutMs: 60_000,
      cacheMaxAgeMs: 60_000,
      cacheMaxBytes: Number.POSITIVE_INFINITY,
    },
    pino({ level: 'silent' }),
  )
  return new LibvirtVirtDriver(new Libvirt({ uri: host.uri, onTrouble: () => {} }), disks, {
    virtType: host.virtType,
    firmwareFiles: NO_FIRMWARE_FILES,
    machineTypeOf: () => 'q35',
    root: host.root,
  })
}

if (missing) notRun({ name: 'driver contract: libvirt', ...missing })
describe.runIf(missing === undefined)('libvirt', () => driverContract({ name: 'libvirt, SEV emulated', machine }))
