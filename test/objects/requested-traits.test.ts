import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems } from '../../src/objects/launch-request.ts'
import { requestedTraits } from '../../src/objects/requested-traits.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const UEFI = { hw_firmware_type: 'uefi' }

function problems(specs: Record<string, string>, properties: ImageMeta['properties'] = {}) {
  return launchProblems(aFlavor(specs), anImage({ ...UEFI, ...properties })).map(({ code, message }) => [code, message])
}

describe('traits that hosts are chosen by', () => {
  it('are asked for by flavor and image together, in an order of their own', () => {
    const flavor = aFlavor({ 'trait:CUSTOM_SSD': 'required', 'trait:CUSTOM_OLD': 'forbidden' })
    const image = anImage({ 'trait:HW_CPU_X86_AVX2': 'required', 'trait:CUSTOM_LAB': 'forbidden' })

    expect(requestedTraits(flavor, image)).toEqual({
      required: ['CUSTOM_SSD', 'HW_CPU_X86_AVX2'],
      forbidden: ['CUSTOM_LAB', 'CUSTOM_OLD'],
    })
    expect(launchProblems(flavor, image)).toEqual([])
  })

  it('are none when nobody asks; what means a model is a request of its own', () => {
    const encrypted = aFlavor({ 'hw:mem_encryption': 'true', 'trait:HW_CPU_X86_AMD_SEV': 'required' })

    expect(requestedTraits(aFlavor(), anImage({}))).toBeUndefined()
    expect(requestedTraits(encrypted, anImage())).toBeUndefined()
  })

  it('are required or forbidden, and nothing else', () => {
    const why = 'which means nothing; write required or forbidden'

    expect(problems({ 'trait:CUSTOM_SSD': 'yes' })).toEqual([
      ['INVALID_PROPERTY', `flavor m1.test has trait:CUSTOM_SSD=yes, ${why}`],
    ])
    expect(problems({}, { 'trait:CUSTOM_SSD': true })).toEqual([
      ['INVALID_PROPERTY', `image linux (11111111-2222-3333-4444-555555555555) has trait:CUSTOM_SSD=true, ${why}`],
    ])
  })

  it('are told of with the key, what is written and the fix', () => {
    const both = launchProblems(
      aFlavor({ 'trait:CUSTOM_SSD': 'required' }),
      anImage({ ...UEFI, 'trait:CUSTOM_SSD': 'forbidden' }),
    )

    expect(launchProblems(aFlavor({ 'trait:CUSTOM_SSD': 'yes' }), anImage(UEFI)).map(({ details }) => details)).toEqual(
      [{ owner: 'flavor m1.test', property: 'trait:CUSTOM_SSD', value: 'yes', fix: 'write required or forbidden' }],
    )
    expect(both.map(({ details }) => details)).toEqual([
      {
        property: 'trait:CUSTOM_SSD',
        flavor_value: 'required',
        image_value: 'forbidden',
        fix: 'choose a flavor and an image that agree, or remove the property from one of them',
      },
    ])
  })

  it('have names in capitals to the end', () => {
    expect(requestedTraits(aFlavor({ 'trait:CUSTOM_gold': 'required' }), anImage({}))).toBeUndefined()
  })

  it('are not required by the one and forbidden by the other', () => {
    expect(problems({ 'trait:CUSTOM_SSD': 'required' }, { 'trait:CUSTOM_SSD': 'forbidden' })).toEqual([
      [
        'FLAVOR_IMAGE_CONFLICT',
        'flavor m1.test has trait:CUSTOM_SSD=required but image linux (11111111-2222-3333-4444-555555555555) has trait:CUSTOM_SSD=forbidden; choose a flavor and an image that agree, or remove the property from one of them',
      ],
    ])
    expect(problems({ 'trait:CUSTOM_SSD': 'required' }, { 'trait:CUSTOM_SSD': 'required' })).toEqual([])
  })
})
