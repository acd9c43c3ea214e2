import { randomUUID } from 'node:crypto'
import { appendFile, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { diskContents } from '../../../src/compute/disks/disk-contents.ts'
import { openFakeHost } from '../../../src/compute/fake/fake-virt-driver.ts'
import { buildDomain } from '../../../src/compute/libvirt/build-domain.ts'
import { guestSpec } from '../../../src/compute/libvirt/guest-spec.ts'
import type { VirtDriver } from '../../../src/compute/virt-driver.ts'
import { SpawnFailed } from '../../../src/errors.ts'
import { aFolder } from '../support/folders.ts'
import { anInstance, type InstanceChanges } from '../support/instances.ts'

const never = new AbortController().signal
const withCode = (code: string) => expect.objectContaining({ code })

async function boot(driver: VirtDriver, changes: InstanceChanges = {}): Promise<string> {
  const instance = anInstance(changes)
  const domain = buildDomain(guestSpec(instance), await driver.capabilities(never))
  await driver.createDisks(domain, diskContents(instance, domain), never)
  await driver.spawn(domain, never)
  return domain.uuid
}

describe('the simulated host', () => {
  it('offers SEV alone by default', async () => {
    await withHost(await openFakeHost({ folder: await aFolder() }), async (driver) => {
      expect((await driver.capabilities(never)).slots).toEqual({ 'amd-sev': 15 })
    })
  })

  it('builds from images that are where its operator says that images are, and adds to them; where he says nothing all are', async () => {
    const imageFolder = await aFolder()
    const places = { imageFolder, imageUrl: undefined }
    const { image, uuid } = anInstance()
    await withHost(await openFakeHost({ folder: await aFolder() }, places), async (driver) => {
      await expect(boot(driver)).rejects.toThrow(
        expect.objectContaining({ code: 'IMAGE_NOT_FOUND', message: expect.stringContaining(imageFolder) }),
      )
      expect(driver.disks()).toEqual([])

      await writeFile(join(imageFolder, `${image.id}.raw`), '')
      expect(await boot(driver, { uuid })).toBe(uuid)

      const snapshot = { ...image, id: randomUUID(), properties: { ...image.properties, instance_uuid: uuid } }
      await driver.copyRoot(uuid, never)
      await driver.storeCopy(uuid, snapshot, never)
      expect(await readFile(join(imageFolder, `${snapshot.id}.qcow2`), 'utf8')).toBe('')
      await driver.removeImage(uuid, snapshot.id)
      await expect(stat(join(imageFolder, `${snapshot.id}.qcow2`))).rejects.toThrow('ENOENT')
    })
  })

  it('offers SEV-SNP in place of SEV-ES when it has slots for it', async () => {
    const options = { folder: await aFolder(), sev_slots: 5, sev_es_slots: 3, sev_snp_slots: 4 }
    await withHost(await openFakeHost(options), async (driver) => {
      expect((await driver.capabilities(never)).slots).toEqual({ 'amd-sev': 5, 'amd-sev-snp': 4 })
    })
  })

  it('offers nothing when it has no slots, or its kernel says no', async () => {
    const plain = { folder: await aFolder(), sev_slots: 0 }
    await withHost(await openFakeHost(plain), async (driver) => {
      expect((await driver.capabilities(never)).slots).toEqual({})
    })
    const switchedOff = { folder: await aFolder(), sev_slots: 15, kernel_parameters: { sev: 'N' } }
    await withHost(await openFakeHost(switchedOff), async (driver) => {
      expect((await driver.capabilities(never)).missing['amd-sev']).toMatch(/kvm_amd/)
    })
  })

  it('runs SEV-ES guests with keys of their own', async () => {
    await withHost(await openFakeHost({ folder: await aFolder(), sev_slots: 1, sev_es_slots: 1 }), async (driver) => {
      await boot(driver, { model: 'amd-sev' })
      await boot(driver, { model: 'amd-sev-es' })

      await expect(boot(driver, { model: 'amd-sev-es' })).rejects.toThrow(withCode('ENCRYPTION_SLOTS_EXHAUSTED'))
    })
  })

  it('runs SEV-SNP guests', async () => {
    await withHost(await openFakeHost({ folder: await aFolder(), sev_snp_slots: 1 }), async (driver) => {
      const uuid = await boot(driver, { model: 'amd-sev-snp' })

      expect(await driver.domainXml(uuid, never)).toContain('<policy>0x00030000</policy>')
    })
  })

  it('fails so many spawns as it is told to', async () => {
    await withHost(await openFakeHost({ folder: await aFolder(), fail_spawn: 2 }), async (driver) => {
      await expect(boot(driver)).rejects.toThrow(withCode('SPAWN_FAILED'))
      await expect(boot(driver)).rejects.toThrow(withCode('SPAWN_FAILED'))
      await boot(driver)
    })
  })

  it('fails the spawns that it is told to', async () => {
    const cursed = anInstance().uuid
    const fail_spawn = (uuid: string) => (uuid === cursed ? new SpawnFailed('cursed') : undefined)
    await withHost(await openFakeHost({ folder: await aFolder(), fail_spawn }), async (driver) => {
      await boot(driver)
      await expect(boot(driver, { uuid: cursed })).rejects.toThrow('cursed')
    })
  })

  it('changes under the worker, as a machine does after a visit to its BIOS', async () => {
    await withHost(await openFakeHost({ folder: await aFolder(), sev_slots: 15 }), async (driver) => {
      driver.reconfigure({ sev_slots: 7, sev_es_slots: 8 })

      expect((await driver.capabilities(never)).slots).toEqual({ 'amd-sev': 7, 'amd-sev-es': 8 })
    })
  })

  it('is refused with a machine type that it does not have', async () => {
    const options = { folder: await aFolder(), default_machine_type: 'virt' }
    await expect(openFakeHost(options)).rejects.toThrow(withCode('INVALID_CONFIGURATION'))
    await withHost(await openFakeHost({ folder: options.folder }), async () => {})
  })

  it('belongs to one opener at a time, in this process', async () => {
    const folder = await aFolder()
    await withHost(await openFakeHost({ folder }), async () => {
      await expect(openFakeHost({ folder })).rejects.toThrow(withCode('ALREADY_IN_USE'))
    })
    await withHost(await openFakeHost({ folder }), async () => {})
  })

  it('has its guests again when it is opened anew, but for what a crash tore', async () => {
    const folder = await aFolder()
    const path = join(folder, 'guests.json')
    const uuids = { kept: anInstance().uuid, gone: randomUUID() }
    await withHost(await openFakeHost({ folder }), async (driver) => {
      for (const uuid of Object.values(uuids)) await boot(driver, { uuid })
      await driver.destroy(uuids.gone)
      await driver.removeDisks(uuids.gone)
    })
    await appendFile(path, '{"uuid":"half a li')

    await withHost(await openFakeHost({ folder }), async (driver) => {
      expect(await driver.guests(never)).toEqual([{ uuid: uuids.kept, state: 'running' }])
      expect(driver.disks()).toEqual([uuids.kept])
    })
    expect((await readFile(path, 'utf8')).split('\n')).toEqual([expect.any(String), ''])
  })

  it('writes what has changed of one guest, however many there are', async () => {
    const folder = await aFolder()
    const path = join(folder, 'guests.json')
    const grewBy: number[] = []
    await withHost(await openFakeHost({ folder }), async (driver) => {
      // Whose domain ids have one digit.
      for (let n = 0; n < 9; n++) {
        const before = (await stat(path)).size
        await boot(driver, { uuid: randomUUID() })
        grewBy.push((await stat(path)).size - before)
      }
    })

    expect(new Set(grewBy).size).toBe(1)
  })

  it('opens the state that an earlier release wrote', async () => {
    const folder = await aFolder()
    const guests = { u1: { definition: '<domain/>', state: 'shutoff' } }
    await writeFile(
      join(folder, 'guests.json'),
      JSON.stringify({ version: 1, guests, disks: { u1: ['/d'] } }, undefined, 1),
    )

    await withHost(await openFakeHost({ folder }), async (driver) => {
      expect(await driver.guests(never)).toEqual([{ uuid: 'u1', state: 'shutoff' }])
      expect(driver.disks()).toEqual(['u1'])
    })
  })

  it('refuses a change that is none in the middle of its state', async () => {
    const folder = await aFolder()
    const lines = [JSON.stringify({ version: 1, guests: {}, disks: {} }), '{"uuid":7}', '']
    await writeFile(join(folder, 'guests.json'), lines.join('\n'))

    await expect(openFakeHost({ folder })).rejects.toThrow(withCode('INVALID_FILE'))
  })

  it('refuses a state file that is none, and leaves it as it is', async () => {
    const folder = await aFolder()
    await writeFile(join(folder, 'guests.json'), '{"version":2}')

    await expect(openFakeHost({ folder })).rejects.toThrow(withCode('INVALID_FILE'))
    expect(await readFile(join(folder, 'guests.json'), 'utf8')).toBe('{"version":2}')
  })
})

async function withHost<D extends VirtDriver>(driver: D, work: (driver: D) => Promise<void>): Promise<void> {
  try {
    await work(driver)
  } finally {
    await driver.close()
  }
}
