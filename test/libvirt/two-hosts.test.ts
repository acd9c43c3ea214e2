import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, mkdir, mkdtemp, open as openFile, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { diskContents } from '../../src/compute/disks/disk-contents.ts'
import { openGuestDisks } from '../../src/compute/disks/open-guest-disks.ts'
import { buildDomain } from '../../src/compute/libvirt/build-domain.ts'
import { consoleAddress } from '../../src/compute/libvirt/console-address.ts'
import { DEFAULT_DOMAIN_OPTIONS, NO_FIRMWARE_FILES } from '../../src/compute/libvirt/domain-options.ts'
import { LibvirtVirtDriver } from '../../src/compute/libvirt/driver/libvirt-virt-driver.ts'
import { DEFAULT_LIVE_MIGRATION } from '../../src/compute/libvirt/driver/live-migration.ts'
import { guestSpec } from '../../src/compute/libvirt/guest-spec.ts'
import { child, parseXml, textOf } from '../../src/compute/libvirt/parse-xml.ts'
import { Libvirt } from '../../src/compute/libvirt/rpc/libvirt.ts'
import { encryptionFlaw } from '../../src/compute/libvirt/verify-encryption.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { anInstance } from '../compute/support/instances.ts'
import { whyNoSevLibvirt } from '../servers/hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from '../servers/libvirt-daemon.ts'
import { notRun } from '../servers/not-run.ts'
import { canEmulate } from '../servers/sev-host.ts'
import { Authority } from '../support/certificates.ts'

const missing = await whyNoSevLibvirt()
if (missing) notRun({ name: 'two hosts with libvirt that share a folder', ...missing })
const isRun =
  missing === undefined &&
  canEmulate('two hosts with libvirt that share a folder', 'one host is given, and the tests need two')

const run = promisify(execFile)
const never = new AbortController().signal
const MIB = 1024 * 1024
const SEV = { max_asid: 2, min_sev_asid: 1 }
const withCode = (code: string) => expect.objectContaining({ code })
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

interface Host {
  readonly libvirt: PrivateLibvirt
  readonly driver: LibvirtVirtDriver
  readonly client: Libvirt
  readonly instancesPath: string
}

/** What QEMU sees of a disk. */
async function contentOf(file: string, bytes = 2 * MIB): Promise<Buffer> {
  const raw = `${file}.read`
  await run('qemu-img', ['convert', '-U', '-f', 'qcow2', '-O', 'raw', file, raw])
  await using opened = await openFile(raw)
  return (await opened.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer
}

/** For QEMU on either host, which may be either side. */
async function writeCertificates(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-pki-'))
  await chmod(folder, 0o755)
  const authority = new Authority('guests that move')
  const { certificate, key } = authority.issue({ name: 'h1', hosts: ['h1', 'h2'] })
  const files = { 'ca-cert.pem': authority.certificate, 'server-cert.pem': certificate, 'server-key.pem': key }
  const all = { ...files, 'client-cert.pem': certificate, 'client-key.pem': key }
  for (const [name, content] of Object.entries(all)) await writeFile(join(folder, name), content)
  return folder
}

async function virtualSize(file: string): Promise<number> {
  const { stdout } = await run('qemu-img', ['info', '-U', '--output=json', file])
  return JSON.parse(stdout)['virtual-size']
}

describe.runIf(isRun)('two hosts with libvirt that share a folder', () => {
  let h1: Host
  let h2: Host
  let images: string
  let pki: string

  beforeAll(async () => {
    pki = await writeCertificates()
    const qemuConf = `migrate_tls_x509_cert_dir = "${pki}"\nmigrate_tls_x509_verify = 1`
    const daemons = await Promise.all([
      startLibvirt({ name: 'h1', sev: SEV, qemuConf }),
      startLibvirt({ name: 'h2', sev: SEV, qemuConf }),
    ])
    const [first] = daemons
    const shared = join(first.folder, 'shared')
    images = join(first.folder, 'images')
    await Promise.all([mkdir(shared, { mode: 0o711 }), mkdir(images)])
    await writeFile(join(images, `${anInstance().image.id}.raw`), Buffer.alloc(MIB, 1))
    const sockets = join(first.folder, 'sockets')
    await mkdir(sockets)
    // QEMU is a user of its own, and makes its socket there.
    await chmod(sockets, 0o1777)
    h1 = await open(daemons[0], shared, daemons[1].uri)
    h2 = await open(daemons[1], shared, daemons[0].uri)
  })
  afterAll(async () => {
    for (const host of [h1, h2]) {
      await host?.driver.close()
      await host?.libvirt.stop()
    }
    await rm(pki, { recursive: true, force: true })
  })

  function openDisks(sharedPath: string, name: string, imageFolder: string) {
    const options = { instancesPath: join(sharedPath, name), sharedPath, imageFolder, imageUrl: undefined }
    const limits = { imageMaxBytes: 100 * MIB, imageTimeoutMs: 60_000, cacheMaxAgeMs: 60_000, cacheMaxBytes: 1e12 }
    return openGuestDisks({ ...options, ...limits }, pino({ level: 'silent' }))
  }

  /** @param other libvirt's URI of the other host; the folder that they share is no file system that libvirt knows as shared */
  async function open(libvirt: PrivateLibvirt, sharedPath: string, other: string): Promise<Host> {
    const disks = await openDisks(sharedPath, libvirt.name, images)
    const instancesPath = join(sharedPath, libvirt.name)
    const client = new Libvirt({ uri: libvirt.uri, onTrouble: () => {} })
    const host = { virtType: libvirt.virtType, firmwareFiles: NO_FIRMWARE_FILES, machineTypeOf: () => 'q35' }
    const socketFolder = join(dirname(sharedPath), 'sockets')
    // What goes to h1 goes encrypted.
    const withNativeTls = libvirt.name === 'h2'
    const migration = { ...DEFAULT_LIVE_MIGRATION, uri: other, socketFolder, unsafe: true, withNativeTls }
    const driver = new LibvirtVirtDriver(client, disks, { ...host, root: libvirt.root }, migration)
    return { libvirt, instancesPath, driver, client }
  }

  const small = (changes: Parameters<typeof anInstance>[0] = {}) =>
    anInstance({ ...changes, flavor: { memory_mb: 64, root_gb: 1, ...changes.flavor } })

  async function domainOn(host: Host, instance: Instance) {
    const network = { kind: 'none' } as const
    const { instancesPath } = host
    const ports: readonly [number, number] = host === h1 ? [10_000, 10_009] : [20_000, 20_009]
    const given = {
      instancesPath,
      network,
      volumeFolders: [h1.libvirt.folder],
      serialConsole: { listen: '127.0.0.1', ports },
    } as const
    const options = { ...DEFAULT_DOMAIN_OPTIONS, ...given, virtType: 'kvm', cpuMode: 'none' } as const
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

  /** The file in which the firmware of a guest keeps its variables, told while it runs. */
  async function variablesOf({ driver, libvirt }: Host, uuid: string): Promise<string> {
    const os = child(parseXml(await driver.domainXml(uuid, never), 'domain', 'the domain'), 'os')
    return join(libvirt.folder, 'lib', relative('/var/lib/libvirt', textOf(child(os, 'nvram')) ?? ''))
  }

  const stateOf = async (host: Host, { uuid }: Instance) => (await host.driver.guest(uuid, never))?.state

  async function expectOn(to: Host, from: Host, instance: Instance) {
    return to.driver.expectGuest(await domainOn(to, instance), await from.driver.disksOf(instance.uuid), never)
  }

  it('bring a guest in clear from one to the other as it runs, on the disks that it has, and back, its memory encrypted on the way', async () => {
    const instance = small()
    const { uuid } = instance
    await boot(h1, instance)
    // What the firmware keeps is kept, too.
    const variables = await variablesOf(h1, uuid)
    await h1.driver.powerOff(uuid)
    await run('sh', ['-c', 'printf KEPT | dd of="$0" conv=notrunc bs=1 seek=4096', variables])
    await h1.driver.spawn(await domainOn(h1, instance), never)
    const process = await h1.libvirt.guestProcess(uuid)
    const data = await expectOn(h2, h1, instance)
    expect(await expectOn(h2, h1, instance)).toEqual(data)
    await expect(h2.driver.welcomeGuest(await domainOn(h2, instance), never)).rejects.toThrow(
      withCode('MIGRATION_ERROR'),
    )

    await h1.driver.liveMigrate(uuid, 'h2', data, never)
    await h1.driver.liveMigrate(uuid, 'h2', data, never)

    expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['shutoff', 'running'])
    expect((await readFile(await variablesOf(h2, uuid))).subarray(4096, 4100).toString()).toBe('KEPT')
    expect(consoleAddress(await h2.driver.domainXml(uuid, never), 'serial', undefined)).toMatchObject({ port: 20_000 })
    expect([process?.pid, await h1.libvirt.guestProcess(uuid)]).toEqual([expect.any(Number), undefined])
    const domain = await domainOn(h2, instance)
    for (let n = 0; n < 2; n++) await h2.driver.welcomeGuest(domain, never)
    // The same guest by its definition, now and when it is started again.
    await h2.driver.spawn(domain, never)
    await remove(h1, instance)
    await run('qemu-io', ['-U', '-f', 'qcow2', '-c', 'read 0 64k', '-r', join(h2.instancesPath, uuid, 'disk')])
    const base = (await readFile(join(h2.instancesPath, uuid, 'disk.base'), 'utf8')).trim()
    expect(base.startsWith(join(h1.instancesPath, '_base'))).toBe(true)
    await h2.driver.powerOff(uuid)
    await h2.driver.spawn(domain, never)

    await h2.driver.liveMigrate(uuid, 'h1', await expectOn(h1, h2, instance), never)
    await h1.driver.welcomeGuest(await domainOn(h1, instance), never)
    await remove(h2, instance)
    expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['running', undefined])
    expect(await readFile(join(h1.instancesPath, uuid, 'disk.base'), 'utf8')).not.toContain('/')
    await remove(h1, instance)
  })

  it('leave a guest where it runs that has a file of one host alone, and make nothing ready for one whose volume is not there', async () => {
    const path = join(h1.libvirt.folder, 'volume.raw')
    await writeFile(path, Buffer.alloc(MIB))
    const volume = { volume_id: randomUUID(), path, bus: 'virtio', device: 'vdb' } as const
    const instance = { ...small(), volumes: [volume] }
    await boot(h1, instance)

    await expect(h1.driver.disksOf(instance.uuid)).rejects.toThrow(
      expect.objectContaining({
        code: 'INVALID_SHARED_STORAGE',
        details: expect.objectContaining({ path, fix: expect.stringContaining('while it is off') }),
      }),
    )
    const left = { folder: join(h1.instancesPath, instance.uuid), files: [] }
    const lacking = { ...instance, volumes: [{ ...volume, path: `${path}.none` }] }
    await expect(h2.driver.expectGuest(await domainOn(h2, lacking), left, never)).rejects.toThrow(
      withCode('VOLUME_ATTACH_FAILED'),
    )
    expect(await stateOf(h1, instance)).toBe('running')
    expect((await h2.driver.diskFolders(never)).map(({ uuid }) => uuid)).not.toContain(instance.uuid)
    await remove(h1, instance)
  })

  it('leave a guest where it runs that QEMU does not migrate, that is not expected, or whose destination is gone', async () => {
    const encrypted = small({ model: 'amd-sev' })
    const clear = small()
    for (const instance of [encrypted, clear]) await boot(h1, instance)
    const going = async (instance: Instance, data: Awaited<ReturnType<typeof expectOn>>) =>
      h1.driver.liveMigrate(instance.uuid, 'h2', data, never)

    await expect(going(encrypted, await expectOn(h2, h1, encrypted))).rejects.toThrow(
      expect.objectContaining({ code: 'OPERATION_NOT_SUPPORTED_FOR_SEV', message: expect.stringContaining('SEV') }),
    )
    const data = await expectOn(h2, h1, clear)
    await h2.driver.removeDisks(clear.uuid)
    await expect(going(clear, data)).rejects.toThrow(withCode('MIGRATION_ERROR'))

    for (const instance of [encrypted, clear]) {
      expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['running', undefined])
      await remove(h2, instance)
      await remove(h1, instance)
    }
  })

  it('go on with a migration whose worker is gone, and another waits for it', async () => {
    const instance = small()
    await boot(h1, instance)
    const data = await expectOn(h2, h1, instance)
    const gone = new AbortController()
    await h2.libvirt.pause()
    const left = h1.driver.liveMigrate(instance.uuid, 'h2', data, gone.signal)
    while ((await h1.client.domainGetJobInfo(instance.uuid)).type === 0) await new Promise(setImmediate)
    gone.abort(new Error('the worker is gone'))
    await expect(left).rejects.toThrow('the worker is gone')

    const again = h1.driver.liveMigrate(instance.uuid, 'h2', data, never)
    await h2.libvirt.resume()
    await again

    expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['shutoff', 'running'])
    await remove(h1, instance)
    await remove(h2, instance)
  })

  /** A guest on its way to h2, which is held until `go`: by then somebody may want something else. */
  async function onItsWay(instance: Instance) {
    await boot(h1, instance)
    const data = await expectOn(h2, h1, instance)
    await h2.libvirt.pause()
    const left = h1.driver.liveMigrate(instance.uuid, 'h2', data, never).then(
      () => 'has left',
      (error: Error) => error,
    )
    while ((await h1.client.domainGetJobInfo(instance.uuid)).type === 0) await new Promise(setImmediate)
    return { left, go: () => h2.libvirt.resume() }
  }

  it('give up a migration that is under way: its guest goes on where it was', async () => {
    const instance = small()
    await h1.driver.abortLiveMigration(instance.uuid, never)
    const { left, go } = await onItsWay(instance)

    const aborted = h1.driver.abortLiveMigration(instance.uuid, never)
    await go()
    await aborted

    expect(await left).toEqual(withCode('MIGRATION_ERROR'))
    expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['running', undefined])
    await remove(h2, instance)
    await remove(h1, instance)
  })

  it('force a migration to its end: its guest stands still until it runs there', async () => {
    const instance = small()
    const { uuid } = instance
    await boot(h1, instance)
    expect(await h1.driver.completeLiveMigration(uuid, never)).toBe(false)
    const data = await expectOn(h2, h1, instance)
    await h1.libvirt.run('virsh', '-c', h1.libvirt.uri, 'migrate-setspeed', uuid, '1')
    let isOver = false
    const left = h1.driver.liveMigrate(uuid, 'h2', data, never).finally(() => {
      isOver = true
    })

    let isForced = false
    while (!isForced && !isOver) isForced = await h1.driver.completeLiveMigration(uuid, never)
    await left

    expect([isForced, await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual([true, 'shutoff', 'running'])
    await remove(h1, instance)
    await remove(h2, instance)
  })

  it('bring a guest that was made to stand still before it was sent, and let it go on there', async () => {
    const instance = small()
    const { left, go } = await onItsWay(instance)
    await h1.client.domainSuspend(instance.uuid)
    // On a folder that libvirt knows as shared the source leaves its owner alone; here it may take the disk before it is opened again.
    await h1.libvirt.run('chmod', '0666', join(h1.instancesPath, instance.uuid, 'disk'))
    await go()
    expect(await left).toBe('has left')
    expect(await stateOf(h2, instance)).toBe('paused')

    await h2.driver.welcomeGuest(await domainOn(h2, instance), never)

    expect([await stateOf(h1, instance), await stateOf(h2, instance)]).toEqual(['shutoff', 'running'])
    await remove(h1, instance)
    await remove(h2, instance)
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
