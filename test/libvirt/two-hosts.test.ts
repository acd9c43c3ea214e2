import { execFile } from 'node:child_process'
import { mkdir, open as openFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { openGuestDisks } from '../../src/compute/disks/open-guest-disks.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, NO_FIRMWARE_FILES } from '../../src/compute/libvirt/domain-options.ts'
import { LibvirtVirtDriver } from '../../src/compute/libvirt/driver/libvirt-virt-driver.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { Libvirt } from '../../src/compute/libvirt/rpc/libvirt.ts'
import { encryptionFlaw } from '../../src/compute/libvirt/verify-encryption.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { anInstance } from '../compute/support/instances.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'

const missing = await whyNoSevLibvirt()
if (missing) notRun({ name: 'two hosts with libvirt that share a folder', ...missing })

const run = promisify(execFile)
const never = new AbortController().signal
const MIB = 1024 * 1024
const SEV = { max_asid: 2, min_sev_asid: 1 }
const withCode = (code: string) => expect.objectContaining({ code })
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

interface Host {
  readonly libvirt: PrivateLibvirt
  readonly driver: LibvirtVirtDriver
  readonly instancesPath: string
}

/** What QEMU sees of a disk. */
async function contentOf(file: string, bytes = 2 * MIB): Promise<Buffer> {
  const raw = `${file}.read`
  await run('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', file, raw])
  await using opened = await openFile(raw)
  return (await opened.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer
}

async function virtualSize(file: string): Promise<number> {
  const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', file])
  return JSON.parse(stdout)['virtual-size']
}

describe.runIf(missing === undefined)('two hosts with libvirt that share a folder', () => {
  let h1: Host
  let h2: Host
  let images: string

  beforeAll(async () => {
    const daemons = await Promise.all([startLibvirt({ name: 'h1', sev: SEV }), startLibvirt({ name: 'h2', sev: SEV })])
    const [first] = daemons
    const shared = join(first.folder, 'shared')
    images = join(first.folder, 'images')
    await Promise.all([mkdir(shared, { mode: 0o711 }), mkdir(images)])
    await writeFile(join(images, `${anInstance().image.id}.raw`), Buffer.alloc(MIB, 1))
    h1 = await open(daemons[0], shared)
    h2 = await open(daemons[1], shared)
  })
  afterAll(async () => {
    for (const host of [h1, h2]) {
      await host?.driver.close()
      await host?.libvirt.stop()
    }
  })

  function openDisks(sharedPath: string, name: string, imageFolder: string) {
    const options = { instancesPath: join(sharedPath, name), sharedPath, imageFolder, imageUrl: undefined }
    const limits = { imageMaxBytes: 100 * MIB, imageTimeoutMs: 60_000, cacheMaxAgeMs: 60_000, cacheMaxBytes: 1e12 }
    return openGuestDisks({ ...options, ...limits }, pino({ level: 'silent' }))
  }

  async function open(libvirt: PrivateLibvirt, sharedPath: string): Promise<Host> {
    const disks = await openDisks(sharedPath, libvirt.name, images)
    const instancesPath = join(sharedPath, libvirt.name)
    const client = new Libvirt({ uri: libvirt.uri, onTrouble: () => {} })
    const host = { virtType: libvirt.virtType, firmwareFiles: NO_FIRMWARE_FILES, machineTypeOf: () => 'q35' }
    return { libvirt, instancesPath, driver: new LibvirtVirtDriver(client, disks, { ...host, root: libvirt.root }) }
  }

  const small = (changes: Parameters<typeof anInstance>[0] = {}) =>
    anInstance({ ...changes, flavor: { memory_mb: 64, root_gb: 1, ...changes.flavor } })

  async function domainOn(host: Host, instance: Instance) {
    const network = { kind: 'none' } as const
    const { instancesPath } = host
    const options = { ...DEFAULT_DOMAIN_OPTIONS, instancesPath, virtType: 'kvm', cpuMode: 'none', network } as const
    return buildDomain(guestSpec(instance, options), await host.driver.capabilities(never))
  }

  async function boot(host: Host, instance: Instance) {
    const domain = await domainOn(host, instance)
    await host.driver.createDisks(domain, diskContents(instance, domain), never)
    await host.driver.spawn(domain, never)
    return domain
  }

  /** As the source does it, with something written to the disk that is in no image. */
  async function leave(host: Host, { uuid }: Instance) {
    await host.driver.powerOff(uuid)
    const disk = join(host.instancesPath, uuid, 'disk')
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 64k', disk])
    return await host.driver.setDisksAside(uuid)
  }

  async function arrive(host: Host, instance: Instance, left: Awaited<ReturnType<typeof leave>>) {
    const domain = await domainOn(host, instance)
    const contents = diskContents(instance, domain)
    await host.driver.takeDisks(domain, left, contents, never)
    await host.driver.takeDisks(domain, left, contents, never)
    await host.driver.createDisks(domain, contents, never)
    await host.driver.spawn(domain, never)
  }

  async function remove(host: Host, { uuid }: Instance) {
    await host.driver.destroy(uuid)
    await host.driver.removeDisks(uuid)
    await host.driver.removeDisksAside(uuid)
  }

  it('bring an encrypted guest from one to the other, larger, with what it has written, and proven; and back as it was', async () => {
    const instance = small({ model: 'amd-sev' })
    const before = await boot(h1, instance)
    expect(await h1.driver.storage(never)).toBe(await h2.driver.storage(never))

    const left = await leave(h1, instance)
    expect(await h1.driver.setDisksAside(instance.uuid)).toEqual(left)
    await expect(h1.driver.spawn(before, never)).rejects.toThrow(withCode('SPAWN_FAILED'))
    const larger = { ...instance, flavor: { ...instance.flavor, root_gb: 2 } }
    await arrive(h2, larger, left)

    const sev = instance.mem_encryption
    if (sev === null) throw new Error('it is not encrypted')
    const { uuid } = instance
    expect(
      encryptionFlaw(await h2.driver.domainXml(uuid, never), await h2.driver.launch(uuid, never), sev),
    ).toBeUndefined()
    const disk = join(h2.instancesPath, uuid, 'disk')
    expect(await virtualSize(disk)).toBe(2 * 1024 * MIB)
    const content = await contentOf(disk)
    expect([content[0], content[MIB], content[MIB + 65_536]]).toEqual([1, 7, 0])
    const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', disk])
    expect(JSON.parse(stdout)['backing-filename']).toContain(join(h2.instancesPath, '_base'))

    await remove(h2, instance)
    await h1.driver.bringDisksBack(uuid)
    await h1.driver.bringDisksBack(uuid)
    await h1.driver.spawn(before, never)
    expect(await h1.driver.guest(uuid, never)).toMatchObject({ state: 'running' })
    expect(await virtualSize(join(h1.instancesPath, uuid, 'disk'))).toBe(1024 * MIB)
    await remove(h1, instance)
  })

  it('copy the whole disk where the image is not to be had any more', async () => {
    const instance = small()
    await boot(h1, instance)
    const left = await leave(h1, instance)
    const shared = join(h1.libvirt.folder, 'shared')
    const disks = await openDisks(shared, 'h3', join(images, 'none'))
    try {
      const domain = await domainOn({ ...h1, instancesPath: join(shared, 'h3') }, instance)
      await disks.take(domain, left, diskContents(instance, domain), never)

      const disk = join(shared, 'h3', instance.uuid, 'disk')
      const content = await contentOf(disk)
      expect([content[0], content[MIB]]).toEqual([1, 7])
      const { stdout } = await run('qemu-img', ['info', '--output=json', disk])
      expect(JSON.parse(stdout)['backing-filename']).toBeUndefined()
    } finally {
      await disks.close()
      await remove(h1, instance)
    }
  })

  it('read nothing elsewhere, and nothing that is not as the other host has told', async () => {
    const instance = small()
    await boot(h1, instance)
    const left = await leave(h1, instance)
    const domain = await domainOn(h2, instance)
    const take = (folder: string, files = left.files) =>
      h2.driver.takeDisks(domain, { folder, files }, diskContents(instance, domain), never)
    const name = `${instance.uuid}_resize`
    await symlink('/etc', join(h2.instancesPath, name))

    for (const folder of [
      '/etc',
      `${left.folder}/..`,
      join(h1.instancesPath, 'not-there', name),
      join(h2.instancesPath, name),
      h1.instancesPath,
    ]) {
      await expect(take(folder)).rejects.toThrow(withCode('INVALID_SHARED_STORAGE'))
    }
    const longer = left.files.map((file) => ({ ...file, bytes: file.bytes + 1 }))
    await expect(take(left.folder, longer)).rejects.toThrow(withCode('INVALID_SHARED_STORAGE'))
    await expect(take(left.folder, [])).rejects.toThrow(withCode('INVALID_SHARED_STORAGE'))
    await h2.driver.removeDisks(instance.uuid)
    await remove(h1, instance)
  })

  it('define a guest that is to stay off, and start it later', async () => {
    const instance = small({ model: 'amd-sev' })
    const domain = await domainOn(h1, instance)
    await h1.driver.createDisks(domain, diskContents(instance, domain), never)

    await h1.driver.define(domain, never)
    await h1.driver.define(domain, never)

    expect(await h1.driver.guest(instance.uuid, never)).toEqual({ uuid: instance.uuid, state: 'shutoff' })
    await h1.driver.spawn(domain, never)
    expect(await h1.driver.guest(instance.uuid, never)).toMatchObject({ state: 'running' })
    await remove(h1, instance)
  })
})
