import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems, launchRequest } from '../../src/objects/launch-request.ts'
import { launchFlavor } from '../../src/objects/resource-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

type Specs = Record<string, string>

const ASKED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi' }
const FIX = 'remove it: of resources only those of memory encryption are understood'
const TRAIT_FIX = 'write trait:NAME=required or trait:NAME=forbidden, the name in capitals'

function messages(specs: Specs, properties: ImageMeta['properties'] = {}): string[] {
  return launchProblems(aFlavor(specs), anImage({ ...UEFI, ...properties })).map(({ message }) => message)
}

describe('resources and traits that nobody here counts', () => {
  it.each([
    ['resources:CUSTOM_NVIDIA_A40', '1', 'but no host counts or gives that resource'],
    ['resources:VGPUS', '1', 'but no host counts or gives that resource'],
    ['resources1:CUSTOM_GOLD', '2', 'but no host counts or gives that resource'],
    ['resources_NET:NET_BW_EGR_KILOBIT_PER_SEC', '10', 'but no host counts or gives that resource'],
    ['resources:PCPU', '2', 'but no host counts or gives that resource'],
    ['Resources:CUSTOM_GOLD', '1', 'but no host counts or gives that resource'],
    ['resources:VCPU', '0', 'but guests are claimed as large as they are (vcpus)'],
    ['resources:MEMORY_MB', '0', 'but guests are claimed as large as they are (memory_mb)'],
    ['resources:DISK_GB', '7', 'but guests are claimed as large as they are (root_gb, ephemeral_gb and swap)'],
    ['trait1:CUSTOM_RACK_A', 'forbidden', 'but no host is chosen by that trait'],
    ['trait_NET:CUSTOM_RACK_A', 'required', 'but no host is chosen by that trait'],
    ['trait:custom_gold', 'required', 'but no host is chosen by that trait'],
    ['Trait:CUSTOM_GOLD', 'required', 'but no host is chosen by that trait'],
  ])('%s=%s of a flavor is refused, of an encrypted guest and of one in clear', (key, value, why) => {
    const fix = /^trait/i.test(key) ? TRAIT_FIX : FIX
    const message = `flavor m1.test has ${key}=${value}, ${why}; ${fix}`

    expect(messages({ [key]: value })).toEqual([message])
    expect(messages({ ...ASKED, [key]: value })).toEqual([message])
  })

  it('are refused on an image, too', () => {
    const image = 'image linux (11111111-2222-3333-4444-555555555555)'

    expect(messages({}, { 'trait1:CUSTOM_GOLD': 'required' })).toEqual([
      `${image} has trait1:CUSTOM_GOLD=required, but no host is chosen by that trait; ${TRAIT_FIX}`,
    ])
  })

  it('end a launch, and say who has what', () => {
    expect(() => launchRequest(aFlavor({ 'resources:CUSTOM_GOLD': '1' }), anImage())).toThrow(
      expect.objectContaining({
        code: 'INVALID_PROPERTY',
        retryable: false,
        details: { owner: 'flavor m1.test', property: 'resources:CUSTOM_GOLD', value: '1', fix: FIX },
      }),
    )
  })

  it('are told all at once, and each once: a device of an encrypted guest by the rule for such devices', () => {
    const specs = {
      'resources:VGPU': '1',
      'resources:CUSTOM_GOLD': '1',
      'resources1:MEM_ENCRYPTION_CONTEXT': '1',
      'trait1:CUSTOM_RACK_A': 'required',
    }
    const told = (asked: Specs) =>
      launchProblems(aFlavor({ ...asked, ...specs }), anImage(UEFI)).map(({ code, details }) => [
        code,
        details.property,
      ])

    expect(told({})).toEqual([
      ['INVALID_PROPERTY', 'resources1:MEM_ENCRYPTION_CONTEXT'],
      ['INVALID_PROPERTY', 'resources:VGPU'],
      ['INVALID_PROPERTY', 'resources:CUSTOM_GOLD'],
      ['INVALID_PROPERTY', 'trait1:CUSTOM_RACK_A'],
    ])
    expect(told(ASKED)).toEqual([
      ['INVALID_PROPERTY', 'resources1:MEM_ENCRYPTION_CONTEXT'],
      ['FLAVOR_IMAGE_CONFLICT', 'resources:VGPU'],
      ['INVALID_PROPERTY', 'resources:CUSTOM_GOLD'],
      ['INVALID_PROPERTY', 'trait1:CUSTOM_RACK_A'],
    ])
  })
})

describe('resources and traits that are understood', () => {
  it.each<[Specs]>([
    [{ 'resources:MEM_ENCRYPTION_CONTEXT': '1' }],
    [{ ...ASKED, 'trait:HW_CPU_X86_AMD_SEV': 'required' }],
    [{ ...ASKED, 'trait:HW_CPU_X86_AMD_SEV_SNP': 'forbidden' }],
    [{ 'resources:CUSTOM_GOLD': '0' }],
    [{ 'my_resources:CUSTOM_GOLD': '1', 'xtrait:CUSTOM_GOLD': 'required' }],
  ])('%j', (specs) => {
    expect(messages(specs)).toEqual([])
  })

  it.each(['amd-sev', 'amd-sev-es'] as const)('are what a launch of %s translates its flavor into', (model) => {
    const flavor = aFlavor({ ...ASKED, 'hw:mem_encryption_model': model })
    const request = launchRequest(flavor, anImage(UEFI))

    expect(launchRequest(launchFlavor(flavor, request.choices[0].encryption ?? null), anImage(UEFI))).toEqual(request)
  })
})
