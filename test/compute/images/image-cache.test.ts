import { createHash, randomUUID } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ImageSource } from '../../../src/compute/images/image-source.ts'
import type { SevbusError } from '../../../src/errors.ts'
import { runs } from '../../support/runs.ts'
import { diskToolsFor } from '../support/disk-tools.ts'
import { anImage, anImageHost, aQcow2, madeByQemuImg, someBytes } from './support/image-host.ts'
import { aQcow2Header } from './support/qcow2.ts'

const never = new AbortController().signal
const MIB = 1024 ** 2
const toolPath = await diskToolsFor('images with qemu-img')
const withCode = (code: string) => expect.objectContaining({ code })

describe.runIf(toolPath)('the images of a host', () => {
  const host = (options = {}) => anImageHost({ toolPath: toolPath as string, ...options })

  it('are fetched once, and a base is the bare disk that the image holds', async () => {
    const { cache, put, left } = await host()
    const content = Buffer.concat([someBytes(MIB), Buffer.alloc(3 * MIB)])
    const [raw, qcow2] = [anImage({ disk_format: 'raw' }), anImage({ disk_format: 'qcow2' })]
    await put(raw, content)
    await put(qcow2, await aQcow2(content, '-c'), '.qcow2')

    using ofRaw = await cache.hold(raw, never)
    using ofQcow2 = await cache.hold(qcow2, never)

    for (const base of [ofRaw, ofQcow2]) {
      expect(base.bytes).toBe(content.length)
      expect((await readFile(base.path)).equals(content)).toBe(true)
      expect((await stat(base.path)).mode & 0o777).toBe(0o644)
      // Zeros take no room.
      expect((await stat(base.path)).blocks * 512).toBeLessThan(2 * MIB)
    }
    expect((await left()).toSorted()).toEqual([ofRaw.name, ofQcow2.name].toSorted())
  })

  it('are found under every name that a file of the store may have', async () => {
    const { cache, put } = await host()
    for (const suffix of ['', '.raw', '.img', '.qcow2']) {
      const image = anImage()
      await put(image, someBytes(512), suffix)

      using base = await cache.hold(image, never)

      expect(base.bytes).toBe(512)
    }
  })

  it('are fetched once for all who ask at once', async () => {
    let opened = 0
    const source: ImageSource = {
      description: 'a slow store',
      open: async () => {
        opened++
        await sleep(20)
        return {
          bytes: undefined,
          [Symbol.asyncDispose]: async () => {},
          chunks: (async function* () {
            yield someBytes(MIB)
          })(),
        }
      },
    }
    const { cache } = await host({ sources: [source] })
    const image = anImage()

    const bases = await Promise.all(Array.from({ length: 20 }, () => cache.hold(image, new AbortController().signal)))

    expect([opened, new Set(bases.map(({ path }) => path)).size]).toEqual([1, 1])
  })

  it('are checked against size, checksum and hash, and only the right ones are kept', async () => {
    const { cache, put, left } = await host()
    const content = someBytes(2 * MIB + 17)
    const sum = (algorithm: string) => createHash(algorithm).update(content).digest('hex')
    const right = anImage({
      size: content.length,
      checksum: sum('md5').toUpperCase(),
      properties: { os_hash_algo: 'sha512', os_hash_value: sum('sha512') },
    })
    await put(right, content)
    using base = await cache.hold(right, never)
    expect((await readFile(base.path)).equals(content)).toBe(true)

    const wrong = [
      [{ size: content.length + 1 }, 'IMAGE_CORRUPT', 'size'],
      [{ size: content.length - 1 }, 'IMAGE_CORRUPT', 'size'],
      [{ checksum: createHash('md5').digest('hex') }, 'IMAGE_CORRUPT', 'checksum'],
      [
        { properties: { os_hash_algo: 'sha256', os_hash_value: sum('sha512').slice(0, 64) } },
        'IMAGE_CORRUPT',
        'os_hash_value',
      ],
      [{ checksum: 'abc' }, 'INVALID_PROPERTY', 'checksum'],
      [{ properties: { os_hash_algo: 'crc32', os_hash_value: 'ab' } }, 'INVALID_PROPERTY', 'os_hash_algo'],
      [{ properties: { os_hash_value: sum('sha512') } }, 'INVALID_PROPERTY', 'os_hash_algo'],
      [{ properties: { os_hash_algo: 'sha512' } }, 'INVALID_PROPERTY', 'os_hash_value'],
    ] as const
    for (const [changes, code, property] of wrong) {
      // The same image: what is here by other words is not taken for it.
      const refused = await cache
        .hold({ ...right, checksum: null, size: null, properties: {}, ...changes }, never)
        .catch((error: SevbusError) => error)
      expect(refused).toMatchObject({ code, details: { property, fix: expect.any(String) } })
    }
    expect(await left()).toEqual([base.name])
  })

  it('say what to do where there is none, no store, no id, or no qemu-img', async () => {
    const { cache, put } = await host()
    await expect(cache.hold(anImage(), never)).rejects.toMatchObject({ code: 'IMAGE_NOT_FOUND', retryable: true })
    await expect(cache.hold({ ...anImage(), id: undefined }, never)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { property: 'id' },
    })
    const folder = anImage()
    const asFolder = await host()
    await mkdir(join(asFolder.store, folder.id))
    await expect(asFolder.cache.hold(folder, never)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      details: { reason: 'it is no file', fix: 'put the image there as a file' },
    })
    await expect((await host({ sources: [] })).cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'HOST_CAPABILITY_MISSING',
      details: { fix: expect.stringContaining('compute.image_folder') },
    })
    const withoutTools = await host({ toolPath: '/nonexistent' })
    const image = anImage()
    await withoutTools.put(image, someBytes(512))
    await expect(withoutTools.cache.hold(image, never)).rejects.toMatchObject({
      code: 'HOST_CAPABILITY_MISSING',
      details: { fix: 'install qemu-utils (Debian) or qemu-img (Fedora)' },
    })
    expect(await withoutTools.left()).toEqual([])
    await put(image, someBytes(512))
    using base = await cache.hold(image, never)
    expect(base.bytes).toBe(512)
  })

  it('are not kept when they are larger than the host allows, packed or not', async () => {
    const { cache, put, left } = await host({ maxImageBytes: MIB })
    const bomb = anImage()
    await put(bomb, await aQcow2(Buffer.alloc(8 * MIB), '-c'))
    const large = anImage()
    await put(large, someBytes(MIB + 1))

    await expect(cache.hold(bomb, never)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { value: 8 * MIB },
    })
    await expect(cache.hold(large, never)).rejects.toMatchObject({
      code: 'IMAGE_UNACCEPTABLE',
      details: { property: 'size' },
    })
    expect(await left()).toEqual([])
  })

  it('leave nothing when they are given up, and are fetched anew', async () => {
    const { cache, left, bases } = await host({ sources: [anEndlessStore()] })
    const giveUp = new AbortController()
    const reason = new Error('enough')

    const holding = cache.hold(anImage(), giveUp.signal)
    await expect.poll(async () => (await readdir(bases)).length).toBe(1)
    giveUp.abort(reason)

    await expect(holding).rejects.toBe(reason)
    await expect.poll(left).toEqual([])
  })

  it('are given up when nothing comes, when they take too long, and when the worker stops', async () => {
    const silent: ImageSource = {
      description: 'a silent store',
      open: (_, signal) =>
        new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
    }
    const silence = await host({ sources: [silent], silenceMs: 20 })
    await expect(silence.cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      details: { reason: 'nothing came for 0.02 s' },
    })

    const slow = await host({ sources: [anEndlessStore()], timeoutMs: 50 })
    await expect(slow.cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'IMAGE_DOWNLOAD_FAILED',
      details: { fix: expect.stringContaining('compute.image_timeout_seconds') },
    })

    const stopping = await host({ sources: [anEndlessStore()] })
    const holding = stopping.cache.hold(anImage(), never)
    holding.catch(() => {})
    await expect.poll(async () => (await stopping.left()).length).toBe(1)
    await stopping.cache.close()
    await expect(holding).rejects.toThrow()
    for (const { left } of [silence, slow, stopping]) expect(await left()).toEqual([])
  })

  it('are not there for want of room, which is no fault of the store', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    const source: ImageSource = { description: 'a store', open: () => Promise.reject(full) }
    const { cache, bases } = await host({ sources: [source] })

    await expect(cache.hold(anImage(), never)).rejects.toMatchObject({
      code: 'DISK_CREATION_FAILED',
      details: { folder: bases, fix: 'make room there, or lower compute.image_cache_max_gb' },
    })
  })

  it('come back whole after a worker that died while it fetched', async () => {
    const { cache, left, bases, put } = await host()
    await writeFile(join(bases, `.${randomUUID()}.new`), 'half')
    await writeFile(join(bases, 'owner.1.x'), '')

    await cache.open()

    expect(await left()).toEqual(['owner.1.x'])
    const image = anImage()
    await put(image, someBytes(512))
    using base = await cache.hold(image, never)
    expect(base.bytes).toBe(512)
  })

  describe('are removed', () => {
    const old = async (path: string, ageMs: number) => {
      const at = new Date(Date.now() - ageMs)
      await utimes(path, at, at)
    }

    it('when no guest has had them for long, and not while one has', async () => {
      const used = new Set<string>()
      const { cache, put, left, bases } = await host({ maxAgeMs: 60_000, inUse: async () => used })
      const images = [anImage(), anImage(), anImage(), anImage()]
      const names: string[] = []
      for (const image of images) {
        await put(image, someBytes(4096))
        using base = await cache.hold(image, never)
        names.push(base.name)
      }
      for (const name of names) await old(join(bases, name), 120_000)
      const [ofGuest, held, fresh, forgotten] = names as [string, string, string, string]
      used.add(ofGuest)
      using _holding = await cache.hold(images[1] as (typeof images)[number], never)
      {
        using _just = await cache.hold(images[2] as (typeof images)[number], never)
      }

      expect(await cache.prune()).toEqual([forgotten])

      expect((await left()).toSorted()).toEqual([ofGuest, held, fresh].toSorted())
    })

    it('the longest unused first, when together they are too large', async () => {
      const limits = { maxAgeMs: 60_000, maxBytes: 2.5 * MIB }
      const { cache, put, left, bases } = await host()
      const names: string[] = []
      for (const ageMs of [30_000, 50_000, 40_000]) {
        const image = anImage()
        await put(image, someBytes(MIB))
        using base = await cache.hold(image, never)
        names.push(base.name)
        await old(join(bases, base.name), ageMs)
      }

      expect(await cache.prune(limits)).toEqual([names[1]])
      expect((await left()).toSorted()).toEqual([names[0], names[2]].toSorted())
    })

    it('never under somebody who takes one at that moment', async () => {
      const { cache, put } = await host({ maxAgeMs: 0, maxBytes: 0 })
      const image = anImage()
      await put(image, someBytes(4096))

      for (let round = 0; round < 40; round++) {
        const [base] = await Promise.all([cache.hold(image, never), cache.prune(), cache.prune()])
        expect((await readFile(base.path)).length).toBe(4096)
        base[Symbol.dispose]()
      }
    })
  })

  describe('made by somebody who means harm', () => {
    const over = (file: string, format = 'qcow2', ...options: readonly string[]) =>
      madeByQemuImg('evil', ['create', '-q', '-f', format, ...options, '-u', '-F', 'raw', '-b', file, 'evil', '1M'])
    const empty = (format: string, ...options: readonly string[]) =>
      madeByQemuImg('evil', ['create', '-q', '-f', format, ...options, 'evil', '1M'])
    const dataIn = async (file: string) =>
      aQcow2Header({ incompatibleFeatures: 1n << 2n, extensions: [[0x44415441, file]] })
    const vmdk = async (begin: string) =>
      Buffer.from(
        `${begin}\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 8 FLAT "/etc/passwd" 0\n`,
      )
    const asJson = 'json:{"driver":"file","filename":"/etc/passwd"}'
    const backing = 'it has a backing file'
    const elsewhere = 'its data is in another file (data_file)'

    const attacks: readonly (readonly [string, string, () => Promise<Buffer>])[] = [
      ['a qcow2 over a file of the host (CVE-2015-5163)', backing, () => over('/etc/passwd')],
      [
        'a qcow2 over a file of the host, of version 2',
        backing,
        () => over('/etc/passwd', 'qcow2', '-o', 'compat=0.10'),
      ],
      ['a qcow2 over a JSON description of anything', backing, () => over(asJson)],
      ['a qcow2 over another machine', backing, () => over('nbd://127.0.0.1:10809/x')],
      [
        'a qcow2 with its data in another file',
        elsewhere,
        () => empty('qcow2', '-o', 'data_file=data,data_file_raw=on'),
      ],
      ['a qcow2 with its data in a file of the host (CVE-2024-32498)', elsewhere, () => dataIn('/etc/passwd')],
      ['a qcow2 with its data in a JSON description (CVE-2024-4467)', elsewhere, () => dataIn(asJson)],
      [
        'an encrypted qcow2',
        'it is encrypted',
        async () => {
          const image = await aQcow2(someBytes(4096))
          image.writeUInt32BE(1, 32)
          return image
        },
      ],
      [
        'a qcow2 with a snapshot',
        'it has snapshots',
        () => madeByQemuImg('evil', ['create', '-q', '-f', 'qcow2', 'evil', '1M'], ['snapshot', '-c', 's', 'evil']),
      ],
      [
        'a VMDK whose extent is a file of the host (CVE-2022-47951)',
        'it is a vmdk image',
        () => vmdk('# Disk DescriptorFile'),
      ],
      ['a VMDK whose descriptor begins with another comment', 'it is a vmdk image', () => vmdk('# hello')],
      ['a VMDK', 'it is a vmdk image', () => empty('vmdk')],
      ['a VDI', 'it is a vdi image', () => empty('vdi')],
      ['a VHD', 'it is a vhd image', () => empty('vpc')],
      ['a fixed VHD', 'it is a vhd image', () => empty('vpc', '-o', 'subformat=fixed')],
      ['a VHDX', 'it is a vhdx image', () => empty('vhdx')],
      ['a QED over a file of the host', 'it is a qed image', () => over('/etc/passwd', 'qed')],
      [
        'a LUKS volume',
        'it is a luks image',
        async () => Buffer.concat([Buffer.from('LUKS\xba\xbe', 'latin1'), Buffer.alloc(MIB)]),
      ],
      [
        'a qcow2 that is cut off',
        'qemu-img refuses it: ',
        async () => (await aQcow2(someBytes(MIB))).subarray(0, -65_536),
      ],
      [
        'a qcow2 that is larger than any disk',
        'qemu-img refuses it: ',
        async () => {
          const image = await aQcow2(Buffer.alloc(4096))
          image.writeBigUInt64BE(2n ** 62n, 24)
          return image
        },
      ],
      ['nothing at all', 'it is empty', async () => Buffer.alloc(0)],
    ]

    it.each(attacks)('are refused as raw, as qcow2 and without a word: %s', async (_, reason, made) => {
      const { cache, put, left } = await host()
      const content = await made()

      for (const disk_format of [undefined, 'raw', 'qcow2', 'vmdk', 'vdi']) {
        const image = anImage({ disk_format })
        await put(image, content)
        await expect(cache.hold(image, never), String(disk_format)).rejects.toMatchObject({
          code: 'IMAGE_UNACCEPTABLE',
          retryable: false,
          details: {
            image: image.id,
            reason: expect.stringContaining(disk_format === undefined ? reason : ''),
            fix: expect.any(String),
          },
        })
      }
      expect(await left()).toEqual([])
    })

    it.each([
      ['raw', 'qcow2', () => aQcow2(someBytes(4096))],
      ['qcow2', 'raw', async () => someBytes(4096)],
      ['ami', 'raw', async () => someBytes(4096)],
    ])('or by mistake: said to be %s, and %s', async (disk_format, found, made) => {
      const { cache, put } = await host()
      const image = anImage({ disk_format })
      await put(image, await made())

      await expect(cache.hold(image, never)).rejects.toMatchObject({
        code: 'IMAGE_UNACCEPTABLE',
        details: {
          reason: `it has disk_format=${disk_format}, but its content is ${found}`,
          fix: `set disk_format=${found} on the image`,
        },
      })
    })

    it('are refused in an archive', async () => {
      const { cache, put } = await host()
      const image = anImage({ container_format: 'ova' })
      await put(image, someBytes(4096))

      await expect(cache.hold(image, never)).rejects.toThrow(withCode('IMAGE_UNACCEPTABLE'))
    })

    it('are a bare disk of their own bytes or refused, whatever is changed in a good image', async () => {
      const { cache, put, left, bases } = await host()
      const good = await aQcow2(someBytes(64 * 1024))
      // Where the header is, and the tables behind it.
      const change = fc.record({ at: fc.oneof(fc.nat(200), fc.nat(good.length - 1)), to: fc.nat(255) })
      await fc.assert(
        fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 6 }), async (changes) => {
          const content = Buffer.from(good)
          for (const { at, to } of changes) content[at] = to
          const image = anImage()
          await put(image, content)
          const held = await cache.hold(image, never).catch((error: SevbusError) => error)
          if (held instanceof Error) {
            expect(['IMAGE_UNACCEPTABLE', 'DISK_CREATION_FAILED']).toContain((held as SevbusError).code)
          } else {
            const bytes = await readFile(held.path)
            // Never anything of the host.
            expect(bytes.includes('root:x:0:0')).toBe(false)
            held[Symbol.dispose]()
            await rm(join(bases, held.name))
          }
          expect(await left()).toEqual([])
        }),
        { numRuns: runs(25) },
      )
    })
  })
})

/** Gives for ever, at a pace at which nobody calls it silent. */
function anEndlessStore(): ImageSource {
  return {
    description: 'an endless store',
    open: async (_, signal) => ({
      bytes: undefined,
      [Symbol.asyncDispose]: async () => {},
      chunks: (async function* () {
        for (;;) {
          await sleep(5, undefined, { signal })
          yield someBytes(512)
        }
      })(),
    }),
  }
}
