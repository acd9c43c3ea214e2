import { describe, expect, it } from 'vitest'
import { launchRequest } from '../../src/objects/launch-request.ts'
import { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { shelvedImage, snapshotImage } from '../../src/objects/snapshot-image.ts'
import { anInstance } from '../compute/support/instances.ts'

const asked = { id: '0d2b5b5a-6f1c-4f0e-9a57-0a5d3d0c2001', name: 'before the upgrade' }
const clearFlavor = anInstance().flavor

describe('the image that a snapshot is', () => {
  it('says what the instance’s image said, but of its bytes, and where it is from', () => {
    const bare = anInstance({
      properties: { os_hash_algo: 'sha512', os_hash_value: 'abc', img_signature: 'x', os_distro: 'debian' },
    })
    const instance = { ...bare, image: { ...bare.image, checksum: 'abc', size: 5, min_ram: 512 } }

    expect(snapshotImage(instance, asked)).toEqual({
      ...asked,
      disk_format: 'qcow2',
      container_format: 'bare',
      min_ram: 512,
      min_disk: 20,
      properties: {
        hw_firmware_type: 'uefi',
        hw_machine_type: 'q35',
        os_distro: 'debian',
        image_type: 'snapshot',
        instance_uuid: instance.uuid,
        base_image_ref: instance.image.id,
      },
    })
  })

  it.each(MemEncryptionModel.options)('of an instance with %s asks for that, whatever the flavor says', (model) => {
    const image = snapshotImage(anInstance({ model }), asked)

    expect(launchRequest(clearFlavor, image).choices.map(({ encryption }) => encryption?.model)).toEqual([model])
    const inClear = { ...clearFlavor, extra_specs: { 'hw:mem_encryption': 'false' } }
    expect(() => launchRequest(inClear, image)).toThrow(expect.objectContaining({ code: 'FLAVOR_IMAGE_CONFLICT' }))
  })

  it('keeps the models that the image had named, and needs no image to be from', () => {
    const bare = anInstance({ model: 'amd-sev' })
    const { id: _, ...volume } = bare.image
    const models = { ...volume.properties, hw_mem_encryption_model: 'amd-sev-es,amd-sev' }

    const { properties } = snapshotImage({ ...bare, image: { ...volume, properties: models } }, asked)

    expect(properties.hw_mem_encryption_model).toBe('amd-sev-es,amd-sev')
    expect(properties.base_image_ref).toBeUndefined()
  })
})

describe('the image that an instance waits as while it is shelved', () => {
  it('asks with the flavor for what its own image had asked for, though that names several models', () => {
    const models = { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp,amd-sev-es' }
    const made = anInstance({ model: 'amd-sev-snp', flavor: { extra_specs: models } })
    const instance = { ...made, name: 'n'.repeat(255) }

    const image = shelvedImage(instance, asked.id)

    expect(image.name).toBe(`${'n'.repeat(247)}-shelved`)
    expect(image.properties).toMatchObject({ image_type: 'snapshot', instance_uuid: instance.uuid })
    expect(launchRequest(instance.flavor, image)).toEqual(launchRequest(instance.flavor, instance.image))
  })
})
