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
import { notRun } from '../servers/not-run.ts'
import { canEmulate, type SevHost, sevInfo, startSevHost, whyNoSevHost } from '../servers/sev-host.ts'

const missing = await whyNoSevHost()
const MIB = 1024 * 1024

/** By the number of their keys, none of them for SEV-ES. To start a libvirt takes longer than most of the tests. */
const hosts = new Map<number, Promise<SevHost>>()

function hostWith(sevSlots: number): Promise<SevHost> {
  const started =
    hosts.get(sevSlots) ?? startSevHost('contract', sevSlots > 0 ? { max_asid: sevSlots, min_sev_asid: 1 } : undefined)
  hosts.set(sevSlots, started)
  return started
}

/** Removes every guest, whatever a test has left of it. */
async function clear(host: SevHost): Promise<void> {
  const domains = async (...which: string[]) =>
    (await host.virsh('list', '--uuid', ...which)).split('\n').filter(Boolean)
  for (const uuid of await domains()) await host.virsh('destroy', uuid)
  for (const uuid of await domains('--all')) await host.virsh('undefine', uuid, '--nvram', '--managed-save')
  expect(await domains('--all')).toEqual([])
}

/** A libvirt and a QEMU as good as new, on real hardware or with the secure processor emulated: `sevSlots` ASIDs. */
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
  const network = { kind: 'bridge', bridge: await host.bridge() } as const
  const sev = host.emulated?.sev
  return {
    ...(host.emulated === undefined && { sevSlots: (await sevInfo(host.virsh)).maxGuests }),
    options: {
      instancesPath,
      virtType: host.virtType,
      cpuMode: host.cpuMode,
      network: { kind: 'none' },
      volumeFolders: [volumes],
      attachableNetworks: [network],
      numPciePorts: 12,
    },
    network,
    async volume() {
      await mkdir(volumes)
      await writeFile(join(volumes, 'data.raw'), Buffer.alloc(MIB))
      return join(volumes, 'data.raw')
    },
    guests: { flavor: { memory_mb: host.guestMemoryMb, root_gb: 1 } },
    async open() {
      const driver = await openDriver(host, { instancesPath, imageFolder })
      // libvirt asks the processor once, and must not wait for it as guests shall.
      await sev?.configure({ max_asid: sevSlots, min_sev_asid: 1 })
      await driver.capabilities(new AbortController().signal)
      await sev?.configure({ max_asid: sevSlots, min_sev_asid: 1, delay_ms: spawnDelayMs })
      return driver
    },
  }
}

async function openDriver(host: SevHost, folders: { instancesPath: string; imageFolder: string }) {
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
  driverContract({
    name: 'libvirt',
    machine,
    canChooseKeys: (test) => canEmulate(`driver contract: ${test}`, 'real hardware has the keys that it has'),
  })
})
