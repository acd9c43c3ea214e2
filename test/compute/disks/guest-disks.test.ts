import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { chmod, lstat, mkdir, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { pino } from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { type DiskContents, diskContents } from '../../../src/compute/disks/disk-contents.ts'
import type { GuestDisks } from '../../../src/compute/disks/guest-disks.ts'
import { type DiskOptions, openGuestDisks } from '../../../src/compute/disks/open-guest-disks.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../../../src/compute/libvirt/domain-options.ts'
import type { DomainSpec } from '../../../src/compute/libvirt/domain-spec.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { Instance } from '../../../src/objects/instance.ts'
import { aQcow2, someBytes } from '../images/support/image-host.ts'
import { diskToolsFor } from '../support/disk-tools.ts'
import { aFolder } from '../support/folders.ts'
import { aCapableHost } from '../support/hosts.ts'
import { anInstance } from '../support/instances.ts'

const run = promisify(execFile)
const never = new AbortController().signal
const MIB = 1024 ** 2
const GIB = 1024 ** 3
const USER_DATA = '#cloud-config\nhostname: änderung\n'
const toolPath = await diskToolsFor("guests' disks")

const opened: GuestDisks[] = []
afterEach(async () => {
  for (const disks of opened.splice(0)) await disks.close()
})

/** A host with one image in its store, of 2 MiB. */
async function aHost(changes: Partial<DiskOptions> = {}) {
  const folder = await aFolder()
  // QEMU's user passes through it, in life; in this test nobody but the owner.
  await chmod(folder, 0o700)
  const [instancesPath, imageFolder] = [join(folder, 'instances'), join(folder, 'images')]
  await mkdir(imageFolder)
  const content = someBytes(2 * MIB)
  await writeFile(join(imageFolder, `${anInstance().image.id}.qcow2`), await aQcow2(content))
  const options: DiskOptions = {
    instancesPath,
    imageFolder,
    imageUrl: undefined,
    imageMaxBytes: 2 * GIB,
    imageTimeoutMs: 60_000,
    cacheMaxAgeMs: 60_000,
    cacheMaxBytes: GIB,
    ...changes,
  }
  const reopen = async () => {
    const disks = await openGuestDisks(options, pino({ level: 'silent' }))
    opened.push(disks)
    return disks
  }
  const guest = (instanceChanges: Parameters<typeof anInstance>[0] = {}, domainOptions: Partial<DomainOptions> = {}) =>
    aGuest(anInstance(instanceChanges), { ...DEFAULT_DOMAIN_OPTIONS, instancesPath, ...domainOptions })
  return { instancesPath, imageFolder, content, options, disks: await reopen(), reopen, guest }
}

function aGuest(
  instance: Instance,
  options: DomainOptions,
): { domain: DomainSpec; contents: DiskContents; folder: string } {
  const domain = buildDomain(guestSpec(instance, options), aCapableHost())
  const contents = diskContents(instance, domain, Buffer.from(USER_DATA).toString('base64'))
  return { domain, contents, folder: join(options.instancesPath, instance.uuid) }
}

async function info(file: string): Promise<Record<string, unknown>> {
  return JSON.parse((await run('qemu-img', ['info', '--output=json', file])).stdout)
}

/** The first bytes of the disk as a guest sees them. */
async function asSeen(file: string, bytes: number): Promise<Buffer> {
  const raw = join(await aFolder(), 'raw')
  await run('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', file, raw])
  await using handle = await open(raw, 'r')
  return (await handle.read(Buffer.alloc(bytes), 0, bytes, 0)).buffer
}

describe.runIf(toolPath)("a guest's disks", () => {
  it('are what the domain names: root over the image, ephemeral and swap formatted, of the sizes of the flavor', async () => {
    const { disks, guest, content, instancesPath } = await aHost()
    const { domain, contents, folder } = guest({ flavor: { root_gb: 3, ephemeral_gb: 1, swap: 64 } })

    await disks.create(domain, contents, never)

    expect((await readdir(folder)).toSorted()).toEqual(['console.log', 'disk', 'disk.base', 'disk.eph0', 'disk.swap'])
    const base = join(instancesPath, '_base', await readFile(join(folder, 'disk.base'), 'utf8'))
    expect(await info(join(folder, 'disk'))).toMatchObject({
      format: 'qcow2',
      'virtual-size': 3 * GIB,
      'backing-filename': base,
      'backing-filename-format': 'raw',
    })
    expect((await asSeen(join(folder, 'disk'), content.length)).equals(content)).toBe(true)
    expect(await info(join(folder, 'disk.eph0'))).toMatchObject({ format: 'qcow2', 'virtual-size': GIB })
    const ephemeral = await asSeen(join(folder, 'disk.eph0'), 2048)
    // The superblock of ext4: its magic, and the label.
    expect([ephemeral.readUInt16LE(1024 + 56), ephemeral.toString('latin1', 1024 + 120, 1024 + 130)]).toEqual([
      0xef53,
      'ephemeral0',
    ])
    expect(await info(join(folder, 'disk.swap'))).toMatchObject({ format: 'qcow2', 'virtual-size': 64 * MIB })
    expect((await asSeen(join(folder, 'disk.swap'), 4096)).toString('latin1', 4086)).toBe('SWAPSPACE2')
    for (const name of await readdir(folder)) expect((await lstat(join(folder, name))).mode & 0o777).toBe(0o600)
    expect((await lstat(folder)).mode & 0o777).toBe(0o711)
  })

  it('are as large as the image when the flavor leaves it open, and never smaller', async () => {
    const { disks, guest, content, imageFolder } = await aHost()
    const { domain, contents, folder } = guest({ flavor: { root_gb: 0 } })
    await disks.create(domain, contents, never)
    expect(await info(join(folder, 'disk'))).toMatchObject({ 'virtual-size': content.length })

    const large = { ...contents.image, id: randomUUID() }
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(imageFolder, large.id), '1025M'])
    const small = guest({ flavor: { root_gb: 1 } })
    await expect(disks.create(small.domain, { ...small.contents, image: large }, never)).rejects.toMatchObject({
      code: 'FLAVOR_DISK_TOO_SMALL',
      details: { property: 'root_gb', value: 1, needed: 2 },
    })
  })

  it('have their image fetched and judged ahead, without a trace of them, and it stays while it is held', async () => {
    const { disks, guest, imageFolder, instancesPath } = await aHost({ cacheMaxAgeMs: 0, cacheMaxBytes: 0 })
    const { domain, contents } = guest({ flavor: { root_gb: 1 } })
    const image = { ...contents.image, id: randomUUID() }
    const hold = () => disks.holdImage(domain, { ...contents, image }, never)
    await expect(hold()).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND' })
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(imageFolder, image.id), '1025M'])
    await expect(hold()).rejects.toMatchObject({ code: 'FLAVOR_DISK_TOO_SMALL' })
    expect(await readdir(instancesPath)).toEqual(['_base'])

    using _held = await disks.holdImage(domain, contents, never)
    await rm(join(imageFolder, `${contents.image.id}.qcow2`))
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', join(imageFolder, image.id), '1M'])
    const other = guest()
    await disks.create(other.domain, { ...other.contents, image: { ...image, checksum: null } }, never).catch(() => {})
    await disks.create(domain, contents, never)

    expect(await readdir(instancesPath)).toContain(domain.uuid)
  })

  it('are left as they are when they are made again, and what was half made is made anew', async () => {
    const { disks, guest } = await aHost()
    const { domain, contents, folder } = guest({ flavor: { root_gb: 1, swap: 8 } }, { forceConfigDrive: true })
    await disks.create(domain, contents, never)
    await writeFile(join(folder, 'console.log'), 'it boots')
    const before = await inodes(folder)

    await disks.create(domain, contents, never)
    expect(await inodes(folder)).toEqual(before)

    await rm(join(folder, 'disk.swap'))
    await writeFile(join(folder, `disk.swap.${randomUUID()}.new`), 'half')
    await mkdir(join(folder, 'disk.config.x.new.files.new'))
    await disks.create(domain, contents, never)
    const { 'disk.swap': swap, ...others } = await inodes(folder)
    expect([{ ...others, 'disk.swap': before['disk.swap'] }, typeof swap]).toEqual([before, 'bigint'])
    expect(await readFile(join(folder, 'console.log'), 'utf8')).toBe('it boots')
  })

  it('go with the guest, however often they are removed, and nothing else goes with them', async () => {
    const { disks, guest, instancesPath, content } = await aHost()
    const [one, other] = [guest(), guest()]
    await disks.create(one.domain, one.contents, never)
    await disks.create(other.domain, other.contents, never)

    await disks.remove(one.domain.uuid)
    await disks.remove(one.domain.uuid)
    await disks.remove(randomUUID())

    expect((await readdir(instancesPath)).toSorted()).toEqual(['_base', other.domain.uuid].toSorted())
    expect((await asSeen(join(other.folder, 'disk'), content.length)).equals(content)).toBe(true)
  })

  it('keep the base that they need, and another host worker away from it', async () => {
    const { disks, guest, instancesPath, reopen } = await aHost({ cacheMaxAgeMs: 0, cacheMaxBytes: 0 })
    const { domain, contents } = guest()
    await disks.create(domain, contents, never)
    await expect(reopen()).rejects.toMatchObject({ code: 'ALREADY_IN_USE' })
    await disks.close()
    const bases = async () => (await readdir(join(instancesPath, '_base'))).filter((name) => !name.startsWith('owner.'))
    const kept = await bases()

    const after = await reopen()
    const image = { ...contents.image, checksum: '0'.repeat(32) }
    await expect(after.create(guest().domain, { ...contents, image }, never)).rejects.toThrow()
    expect([kept.length, await bases()]).toEqual([1, kept])

    await after.remove(domain.uuid)
    await after.close()
    await reopen()
    await expect.poll(bases).toEqual([])
  })

  it('are never made outside of its folder, nor through a link', async () => {
    const { disks, guest, instancesPath } = await aHost()
    const { domain, contents, folder } = guest()
    const elsewhere = await aFolder()
    const [root] = domain.disks as [DomainSpec['disks'][number]]

    const outside = { ...domain, disks: [{ ...root, file: join(elsewhere, 'disk') }] }
    await expect(disks.create(outside, contents, never)).rejects.toMatchObject({ code: 'DISK_CREATION_FAILED' })
    const above = { ...domain, serial: { logFile: `${folder}/../console.log` } }
    await expect(disks.create(above, contents, never)).rejects.toMatchObject({ code: 'DISK_CREATION_FAILED' })
    await expect(disks.create({ ...domain, uuid: '..' }, contents, never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENTS',
    })
    await expect(disks.remove('../x')).rejects.toMatchObject({ code: 'INVALID_ARGUMENTS', details: { value: '../x' } })

    await symlink(elsewhere, folder)
    await expect(disks.create(domain, contents, never)).rejects.toMatchObject({
      code: 'DISK_CREATION_FAILED',
      details: { fix: `remove ${folder}` },
    })
    await writeFile(join(elsewhere, 'precious'), 'stays')
    await disks.remove(domain.uuid)
    expect(await readdir(elsewhere)).toEqual(['precious'])

    await mkdir(folder)
    for (const name of ['disk', 'console.log']) await symlink(join(elsewhere, 'precious'), join(folder, name))
    await disks.create(domain, contents, never)
    for (const name of ['disk', 'console.log']) expect((await lstat(join(folder, name))).isFile()).toBe(true)
    await symlink(elsewhere, join(folder, 'link'))
    await disks.remove(domain.uuid)
    expect(await readFile(join(elsewhere, 'precious'), 'utf8')).toBe('stays')
    expect(await readdir(instancesPath)).toEqual(['_base'])
  })

  it('are given up at once, with the reason, and nothing is written afterwards', async () => {
    const slow = await aFolder()
    await writeFile(join(slow, 'mkfs.ext4'), `#!/bin/sh\n: > ${slow}/begun\nexec sleep 60\n`, { mode: 0o755 })
    const { disks, guest } = await aHost({ toolPath: `${slow}:${toolPath}` })
    const { domain, contents, folder } = guest({ flavor: { ephemeral_gb: 100 } })
    const giveUp = new AbortController()
    const reason = new Error('enough')

    const creating = disks.create(domain, contents, giveUp.signal)
    await expect.poll(() => readdir(slow), { timeout: 20_000 }).toContain('begun')
    giveUp.abort(reason)

    await expect(creating).rejects.toBe(reason)
    expect((await readdir(folder)).filter((name) => name.endsWith('.new'))).toEqual([])
    await disks.remove(domain.uuid)
    await expect(disks.create(domain, contents, giveUp.signal)).rejects.toBe(reason)
    await expect(lstat(folder)).rejects.toThrow('ENOENT')
  })

  it('say which package is missing for them', async () => {
    const empty = await aFolder()
    const { disks, guest } = await aHost({ toolPath: empty })
    const { domain, contents } = guest()

    await expect(disks.create(domain, contents, never)).rejects.toMatchObject({
      code: 'HOST_CAPABILITY_MISSING',
      retryable: true,
      details: { fix: 'install qemu-utils (Debian) or qemu-img (Fedora)', path: empty },
    })
  })

  it('have room as the file system has: what guests have is theirs still', async () => {
    const { disks, guest } = await aHost()
    const before = await disks.offeredGb()
    const { domain, contents } = guest()
    await disks.create(domain, contents, never)

    const { stdout } = await run('df', ['-B1', '--output=avail', '/tmp'])
    expect(before).toBeGreaterThan(0)
    expect(Math.abs((await disks.offeredGb()) - Number(stdout.split('\n')[1]) / GIB)).toBeLessThan(5)
  })

  describe('on the config drive', () => {
    const expected = async (contents: DiskContents) =>
      Object.fromEntries(contents.configDrive.map(({ path, content }) => [path, Buffer.from(content).toString('utf8')]))

    it.each(['genisoimage', 'xorrisofs', 'mkisofs'])(
      'are the files that cloud-init reads, on a CD-ROM by %s',
      async (tool) => {
        const folder = await aFolder()
        for (const each of ['qemu-img', 'prlimit', tool])
          await symlink((await run('sh', ['-c', `command -v ${each}`])).stdout.trim(), join(folder, each))
        const { disks, guest } = await aHost({ toolPath: folder })
        const { domain, contents, folder: files } = guest({}, { forceConfigDrive: true })

        await disks.create(domain, contents, never)

        const drive = join(files, 'disk.config')
        expect((await readFile(drive)).toString('latin1', 0x8028, 0x8030)).toBe('config-2')
        expect(await readIso(drive, contents)).toEqual(await expected(contents))
        expect(await readIso(drive, contents, '-J')).toEqual(await expected(contents))
        expect([(await lstat(drive)).mode & 0o777, (await readdir(files)).toSorted()]).toEqual([
          0o600,
          ['console.log', 'disk', 'disk.base', 'disk.config'],
        ])
      },
    )

    it('are the files that cloud-init reads, on a disk', async () => {
      const { disks, guest } = await aHost()
      const { domain, contents, folder } = guest({}, { forceConfigDrive: true, configDriveFormat: 'vfat' })

      await disks.create(domain, contents, never)

      const drive = join(folder, 'disk.config')
      const found: Record<string, string> = {}
      for (const { path } of contents.configDrive)
        found[path] = (await run('mtype', ['-i', drive, `::/${path}`])).stdout
      expect(found).toEqual(await expected(contents))
      expect((await run('mlabel', ['-s', '-i', drive, '::'])).stdout).toContain('config-2')
      expect((await lstat(drive)).mode & 0o777).toBe(0o600)
    })

    it('need a program that writes them, which is named', async () => {
      const folder = await aFolder()
      for (const each of ['qemu-img', 'prlimit'])
        await symlink((await run('sh', ['-c', `command -v ${each}`])).stdout.trim(), join(folder, each))
      const { disks, guest } = await aHost({ toolPath: folder })

      for (const [configDriveFormat, fix] of [
        ['iso9660', 'install genisoimage'],
        ['vfat', 'install dosfstools'],
      ] as const) {
        const { domain, contents } = guest({}, { forceConfigDrive: true, configDriveFormat })
        await expect(disks.create(domain, contents, never)).rejects.toMatchObject({
          code: 'HOST_CAPABILITY_MISSING',
          details: { fix },
        })
      }
    })
  })
  const newImage = { ...anInstance().image, id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2001', disk_format: 'qcow2' }

  async function written(host: Awaited<ReturnType<typeof aHost>>) {
    const { domain, contents, folder } = host.guest({ flavor: { root_gb: 1 } })
    await host.disks.create(domain, contents, never)
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x5a 3M 64k', join(folder, 'disk')])
    await host.disks.copyRoot(domain.uuid, never)
    return { uuid: domain.uuid, folder, image: { ...newImage, properties: { instance_uuid: domain.uuid } } }
  }

  it('become an image of the store as they were when they were copied, and another guest has what was written', async () => {
    const host = await aHost()
    const { disks, imageFolder, content, guest } = host
    const { uuid, folder, image } = await written(host)
    await run('qemu-io', ['-f', 'qcow2', '-c', 'write -P 0x11 3M 64k', join(folder, 'disk')])

    const bytes = await disks.storeCopy(uuid, image, never)
    const again = await disks.storeCopy(uuid, image, never)
    await disks.removeCopy(uuid)
    await disks.removeCopy(uuid)

    const file = join(imageFolder, `${image.id}.qcow2`)
    expect([bytes, again]).toEqual([(await lstat(file)).size, bytes])
    expect(JSON.parse(await readFile(join(imageFolder, `${image.id}.json`), 'utf8'))).toEqual({ ...image, size: bytes })
    expect((await info(file))['backing-filename']).toBeUndefined()
    expect((await readdir(folder)).toSorted()).toEqual(['console.log', 'disk', 'disk.base'])
    const { domain, contents, folder: other } = guest({ flavor: { root_gb: 1 } })
    await disks.create(domain, { ...contents, image: { ...image, size: bytes } }, never)
    const seen = await asSeen(join(other, 'disk'), 3 * MIB + 65_536)
    expect(seen.subarray(0, content.length).equals(content)).toBe(true)
    expect(seen.subarray(3 * MIB).every((byte) => byte === 0x5a)).toBe(true)

    // Gone from the store, whoever was booted from it keeps its disk; that of another guest is not taken for it.
    await disks.removeImage(domain.uuid, image.id)
    expect(await readdir(imageFolder)).toContain(`${image.id}.qcow2`)
    await writeFile(join(imageFolder, 'torn.json'), '{')
    await disks.removeImage(uuid, 'torn')
    for (const _ of ['once', 'twice']) await disks.removeImage(uuid, image.id)
    expect((await readdir(imageFolder)).filter((name) => name.startsWith(image.id))).toEqual([])
    expect((await asSeen(join(other, 'disk'), 3 * MIB + 65_536)).equals(seen)).toBe(true)
  })

  it('become no image under the id of another one, and none where there is no folder for it', async () => {
    const host = await aHost()
    const { uuid, image } = await written(host)
    const id = anInstance().image.id as string
    await host.disks.close()
    opened.length = 0
    const homeless = await openGuestDisks({ ...host.options, imageFolder: undefined }, pino({ level: 'silent' }))
    opened.push(homeless)

    await expect(homeless.storeCopy(uuid, image, never)).rejects.toMatchObject({ code: 'HOST_CAPABILITY_MISSING' })
    await homeless.close()
    opened.length = 0
    const disks = await host.reopen()
    await expect(disks.storeCopy(uuid, { ...image, id }, never)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENTS',
      details: { field: 'image_id', value: id },
    })
    expect((await readdir(host.imageFolder)).toSorted()).toEqual([`${id}.qcow2`])
  })

  it('become an image of their own base, whatever QEMU was made to write into the header', async () => {
    const host = await aHost()
    const { uuid, folder, image } = await written(host)
    const copy = join(folder, 'disk.snapshot')
    await run('qemu-img', ['rebase', '-u', '-f', 'qcow2', '-F', 'raw', '-b', '/etc/passwd', copy])

    await host.disks.storeCopy(uuid, image, never)

    const seen = await asSeen(join(host.imageFolder, `${image.id}.qcow2`), host.content.length)
    expect(seen.equals(host.content)).toBe(true)
  })

  it('become no image when they name another file for their data', async () => {
    const host = await aHost()
    const { uuid, folder, image } = await written(host)
    const copy = join(folder, 'disk.snapshot')
    await rm(copy)
    await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-o', `data_file=${join(folder, 'data')}`, copy, '1M'])

    await expect(host.disks.storeCopy(uuid, image, never)).rejects.toMatchObject({ code: 'DISK_CREATION_FAILED' })
  })
})

async function inodes(folder: string): Promise<Record<string, bigint>> {
  const names = (await readdir(folder)).toSorted()
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, (await lstat(join(folder, name), { bigint: true })).ino])),
  )
}

async function readIso(drive: string, { configDrive }: DiskContents, names = '-R'): Promise<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const { path } of configDrive)
    found[path] = (await run('isoinfo', [names, '-i', drive, '-x', `/${path}`])).stdout
  return found
}
