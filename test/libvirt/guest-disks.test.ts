import { lstat, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import type { GuestDisks } from '../../src/compute/disks/guest-disks.ts'
import { openGuestDisks } from '../../src/compute/disks/open-guest-disks.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS } from '../../src/compute/libvirt/domain-options.ts'
import { domainXml } from '../../src/compute/libvirt/domain-xml.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { aCapableHost } from '../compute/support/hosts.ts'
import { anInstance } from '../compute/support/instances.ts'
import { findDiskTools } from '../servers/disk-tools.ts'
import { HALTING_FIRMWARE_SAYS } from '../servers/halting-firmware.ts'
import { whyNoLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing =
  (await whyNoLibvirt()) ??
  ((await findDiskTools())
    ? undefined
    : { why: 'a program that makes disks is not installed', how: 'apt-get install genisoimage mtools dosfstools' })
if (missing) notRun({ name: 'real guests on disks of ours', ...missing })

const never = new AbortController().signal
const GIB = 1024 ** 3

describe.runIf(missing === undefined)('a real guest', () => {
  let host: PrivateLibvirt
  let disks: GuestDisks
  let instancesPath: string

  beforeAll(async () => {
    host = await startLibvirt({ name: 'disks' })
    instancesPath = join(host.folder, 'instances')
    const imageFolder = join(host.folder, 'images')
    await mkdir(imageFolder)
    await writeFile(join(imageFolder, `${anInstance().image.id}.raw`), Buffer.alloc(1024 * 1024, 1))
    const options = {
      instancesPath,
      imageFolder,
      imageUrl: undefined,
      imageMaxBytes: GIB,
      imageTimeoutMs: 60_000,
      cacheMaxAgeMs: 0,
      cacheMaxBytes: GIB,
    }
    disks = await openGuestDisks(options, pino({ level: 'silent' }))
  })

  afterAll(async () => {
    await disks?.close()
    await host?.stop()
  })

  async function boot() {
    const instance = { ...anInstance({ flavor: { root_gb: 1, memory_mb: 64, swap: 8 } }), config_drive: true }
    const options = {
      ...DEFAULT_DOMAIN_OPTIONS,
      instancesPath,
      virtType: host.virtType,
      cpuMode: 'none',
      network: { kind: 'none' },
    } as const
    const domain = buildDomain(guestSpec(instance, options), aCapableHost())
    await disks.create(domain, diskContents(instance, domain, 'YQ=='), never)
    const file = join(host.folder, `${domain.uuid}.xml`)
    await writeFile(file, domainXml(domain))
    await host.virsh('define', '--validate', file)
    await host.virsh('start', domain.uuid)
    return { uuid: domain.uuid, folder: join(instancesPath, domain.uuid) }
  }

  async function end(uuid: string): Promise<void> {
    await host.virsh('destroy', uuid)
    await host.virsh('undefine', '--nvram', uuid)
    await disks.remove(uuid)
  }

  it('runs on the disks that were made for it, beside another one on the same image, and leaves nothing', async () => {
    const one = await boot()
    const two = await boot()

    for (const { folder } of [one, two]) {
      const log = join(folder, 'console.log')
      await vi.waitFor(async () => expect(await readFile(log, 'utf8')).toBe(HALTING_FIRMWARE_SAYS))
      const disk = await lstat(join(folder, 'disk'))
      expect(disk.mode & 0o777).toBe(0o600)
      // A system daemon gave it to QEMU's user, who is another one.
      if (process.getuid?.() === 0) expect(disk.uid).not.toBe(0)
    }
    expect((await host.virsh('domblklist', '--details', one.uuid)).match(/cdrom/g)).toHaveLength(1)

    await end(one.uuid)
    const three = await boot()
    for (const { uuid } of [two, three]) await end(uuid)

    expect(await readdir(instancesPath)).toEqual(['_base'])
  })
})
