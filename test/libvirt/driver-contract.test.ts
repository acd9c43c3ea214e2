import { chmod, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, describe, expect, onTestFinished } from 'vitest'
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

/** By the number of their keys, none of them for SEV-ES. To start a libvirt takes longer than most of the tests. */
const hosts = new Map<number, Promise<PrivateLibvirt>>()

function hostWith(sevSlots: number): Promise<PrivateLibvirt> {
  const started =
    hosts.get(sevSlots) ??
    startLibvirt({ name: 'contract', ...(sevSlots > 0 && { sev: { max_asid: sevSlots, min_sev_asid: 1 } }) })
  hosts.set(sevSlots, started)
  return started
}

/** Removes every guest, whatever a test has left of it, and the bridge. */
async function clear(host: PrivateLibvirt): Promise<void> {
  const domains = async (...which: string[]) =>
    (await host.virsh('list', '--uuid', ...which)).split('\n').filter(Boolean)
  for (const uuid of await domains()) await host.virsh('destroy', uuid)
  for (const uuid of await domains('--all')) await host.virsh('undefine', uuid, '--nvram', '--managed-save')
  expect(await domains('--all')).toEqual([])
  await host.run('ip', 'link', 'delete', 'br0').catch(() => 'it had none')
}

/** A libvirt and a QEMU as good as new, with the secure processor emulated: `sevSlots` ASIDs. */
async function machine({ sevSlots, spawnDelayMs = 0 }: { sevSlots: number; spawnDelayMs?: number }): Promise<Machine> {
  const host = await hostWith(sevSlots)
  const folder = await mkdtemp(join(host.folder, 'test-'))
  // QEMU runs as a user of its own, and must come to its files.
  await chmod(folder, 0o711)
  onTestFinished(() => clear(host))
  const imageFolder = join(folder, 'images')
  await mkdir(imageFolder)
  await writeFile(join(imageFolder, `${anInstance().image.id}.raw`), Buffer.alloc(MIB))
  const instancesPath = join(folder, 'instances')
  const volumes = join(folder, 'volumes')
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
      await host.sev?.configure({ max_asid: sevSlots, min_sev_asid: 1 })
      await driver.capabilities(new AbortController().signal)
      await host.sev?.configure({ max_asid: sevSlots, min_sev_asid: 1, delay_ms: spawnDelayMs })
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
describe.runIf(missing === undefined)('libvirt', () => {
  afterAll(() => Promise.all([...hosts.values()].map(async (host) => (await host).stop())))
  driverContract({ name: 'libvirt, SEV emulated', machine })
})
