import { describe, expect, it } from 'vitest'
import { launchRequest } from '../../src/objects/launch-request.ts'
import { MemEncryptionModel } from '../../src/objects/mem-encryption.ts'
import { memEncryptionRequest } from '../../src/objects/mem-encryption-request.ts'
import { rescueImage } from '../../src/objects/rescue-image.ts'
import { anInstance } from '../compute/support/instances.ts'

const uefi = (properties: object = {}) => ({
  ...anInstance().image,
  name: 'rescue',
  properties: { hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: 'true', ...properties },
})
/** Encrypted because its image had asked for that: Nova drops this. */
function byImage(model: MemEncryptionModel) {
  const bare = anInstance()
  const image = { ...bare.image, ...uefi({ hw_mem_encryption: true, hw_mem_encryption_model: model }) }
  return { ...bare, image, mem_encryption: memEncryptionRequest(bare.flavor, image)[0] ?? null }
}

describe('what an instance is rescued by', () => {
  it.each(MemEncryptionModel.options)(
    'is booted with %s if the instance has it, whoever had asked for that',
    (model) => {
      for (const instance of [anInstance({ model }), byImage(model)]) {
        const asked = rescueImage(instance, uefi())
        expect(launchRequest(instance.flavor, asked).choices[0].encryption).toMatchObject({ model })
      }
    },
  )

  it.each([
    [
      'cannot be encrypted',
      uefi({ hw_firmware_type: 'bios', hw_firmware_stateless: undefined }),
      'FLAVOR_IMAGE_CONFLICT',
    ],
    ['is not to be', uefi({ hw_mem_encryption: false }), 'INVALID_PROPERTY'],
    ['wants another model', uefi({ hw_mem_encryption_model: 'amd-sev-es' }), 'INVALID_PROPERTY'],
  ])('is refused when it %s', (_why, image, code) => {
    const { hw_firmware_stateless, ...properties } = image.properties
    expect(() => rescueImage(byImage('amd-sev'), { ...image, properties })).toThrow(expect.objectContaining({ code }))
  })

  it('is refused when it wants an encryption that the instance has not, and no slot', () => {
    expect(() => rescueImage(anInstance(), uefi({ hw_mem_encryption: true }))).toThrow(
      expect.objectContaining({ code: 'INVALID_PROPERTY' }),
    )
    const image = uefi()
    expect(rescueImage(anInstance(), image)).toBe(image)
  })
})
