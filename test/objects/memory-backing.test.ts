import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchRequest, refuseDisagreement } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

type Specs = Readonly<Record<string, string>>
type Properties = ImageMeta['properties']

function backing(specs: Specs, properties: Properties = {}) {
  try {
    return launchRequest(aFlavor(specs), anImage(properties)).choices[0].memoryBacking
  } catch (error) {
    return (error as { code: string }).code
  }
}

/** Nova's `_get_numa_pagesize_constraint`, row by row. */
describe('the page size of a guest', () => {
  it.each([
    ['small', 'small'],
    ['large', 'large'],
    ['any', 'any'],
    ['4', { kib: 4 }],
    ['2048', { kib: 2048 }],
    ['1048576', { kib: 1_048_576 }],
    ['4KB', { kib: 4 }],
    ['2MB', { kib: 2048 }],
    ['2MiB', { kib: 2048 }],
    ['1GB', { kib: 1_048_576 }],
    ['1GiB', { kib: 1_048_576 }],
    ['2048KB', { kib: 2048 }],
    ['16Mbit', { kib: 2048 }],
    ['16Mib', { kib: 2048 }],
    ['2097152B', { kib: 2048 }],
    // Half a byte more is one, as oslo.utils rounds.
    ['16777212bit', { kib: 2048 }],
  ])('that the flavor writes as %s is %j', (written, pageSize) => {
    expect(backing({ 'hw:mem_page_size': written })).toEqual({ locked: false, pageSize })
  })

  it.each([
    'huge',
    'Large',
    'ANY',
    '2M',
    '2 MB',
    '-2048',
    '0',
    '1B',
    '2iB',
    'MB',
    '2MBB',
    '1',
    '3',
    '8',
    '4096',
    '0.5GB',
    '1TB',
    '1048577',
    '2048 ',
  ])('cannot be %j', (written) => {
    expect(backing({ 'hw:mem_page_size': written })).toBe('MEMORY_PAGE_SIZE_INVALID')
    expect(backing({ 'hw:mem_page_size': 'any' }, { hw_mem_page_size: written })).toBe('MEMORY_PAGE_SIZE_INVALID')
  })

  it.each([
    [undefined, undefined, undefined],
    ['', '', undefined],
    [undefined, '2048', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    [undefined, 'small', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    ['large', '2048', { kib: 2048 }],
    ['large', 2048, { kib: 2048 }],
    ['large', '2MB', { kib: 2048 }],
    ['any', '1GB', { kib: 1_048_576 }],
    ['any', 'small', 'small'],
    ['any', 'large', 'large'],
    ['large', 'any', 'any'],
    ['large', null, 'large'],
    ['small', '2048', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    ['small', 'small', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    ['2048', '2048', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    ['2048', 'large', 'MEMORY_PAGE_SIZE_FORBIDDEN'],
    ['huge', '2048', 'MEMORY_PAGE_SIZE_INVALID'],
  ] as const)('of flavor %s and image %s is %j', (flavor, image, expected) => {
    const specs: Specs = flavor === undefined ? {} : { 'hw:mem_page_size': flavor }
    const result = backing(specs, image === undefined ? {} : { hw_mem_page_size: image })

    if (typeof expected === 'string' && expected.startsWith('MEMORY')) expect(result).toBe(expected)
    else expect(result).toEqual({ locked: false, pageSize: expected })
  })

  it('is refused with what to write', () => {
    expect(() => launchRequest(aFlavor({ 'hw:mem_page_size': 'huge' }), anImage())).toThrow(
      'flavor m1.test has hw:mem_page_size="huge", which is no page size; write small, large, any, or a size that x86 has: 4KB, 2MB, 1GB, or in KiB 4, 2048, 1048576',
    )
    expect(() => launchRequest(aFlavor(), anImage({ hw_mem_page_size: '2MB' }))).toThrow(
      'has hw_mem_page_size=2MB, which flavor m1.test does not allow (hw:mem_page_size=<unset>); set hw:mem_page_size=large or any on the flavor, or remove hw_mem_page_size',
    )
  })
})

/** Nova's `get_locked_memory_constraint`, row by row. */
describe('locked memory', () => {
  const PAGES = { 'hw:mem_page_size': 'small' }
  const MODELS = {
    clear: [{}, {}],
    'amd-sev': [{ 'hw:mem_encryption': 'true' }, { hw_firmware_type: 'uefi' }],
    'amd-sev-es': [
      { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es' },
      { hw_firmware_type: 'uefi' },
    ],
    'amd-sev-snp': [
      { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp' },
      { hw_firmware_type: 'uefi', hw_firmware_stateless: true },
    ],
  } as const satisfies Record<string, readonly [Specs, Properties]>
  type Model = keyof typeof MODELS

  const locked = (model: Model, specs: Specs, properties: Properties = {}) => {
    const [flavor, image] = MODELS[model]
    const result = backing({ ...flavor, ...specs }, { ...image, ...properties })
    return typeof result === 'string' ? result : result.locked
  }

  it.each([
    ['clear', false],
    ['amd-sev', true],
    ['amd-sev-es', true],
    ['amd-sev-snp', false],
  ] as const)('of a guest %s that says nothing, or says no: %s', (model, expected) => {
    expect(locked(model, {})).toBe(expected)
    expect(locked(model, PAGES)).toBe(expected)
    expect(locked(model, { 'hw:locked_memory': 'false' })).toBe(expected)
    expect(locked(model, {}, { hw_locked_memory: false })).toBe(expected)
    expect(locked(model, { 'hw:locked_memory': 'no' }, { hw_locked_memory: '0' })).toBe(expected)
  })

  it.each(['clear', 'amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const)(
    'is to be had by a guest %s that names a page size',
    (model) => {
      expect(locked(model, { ...PAGES, 'hw:locked_memory': 'yes' })).toBe(true)
      expect(locked(model, PAGES, { hw_locked_memory: true })).toBe(true)
      expect(locked(model, { ...PAGES, 'hw:locked_memory': 'True' }, { hw_locked_memory: 'on' })).toBe(true)
      expect(locked(model, { 'hw:locked_memory': 'true' })).toBe('LOCK_MEMORY_FORBIDDEN')
      expect(locked(model, {}, { hw_locked_memory: true })).toBe('LOCK_MEMORY_FORBIDDEN')
      expect(locked(model, { 'hw:locked_memory': 'true', 'hw:mem_page_size': '' })).toBe('LOCK_MEMORY_FORBIDDEN')
    },
  )

  it.each(['clear', 'amd-sev', 'amd-sev-es', 'amd-sev-snp'] as const)(
    'of a guest %s is no matter of opinion: flavor and image must agree',
    (model) => {
      const conflict = 'FLAVOR_IMAGE_LOCKED_MEMORY_CONFLICT'

      expect(locked(model, { ...PAGES, 'hw:locked_memory': 'true' }, { hw_locked_memory: false })).toBe(conflict)
      expect(locked(model, { 'hw:locked_memory': 'false' }, { hw_locked_memory: true })).toBe(conflict)
      expect(locked(model, { 'hw:locked_memory': 'maybe' })).toBe('INVALID_PROPERTY')
    },
  )

  it('is refused with what to do', () => {
    expect(() => launchRequest(aFlavor({ 'hw:locked_memory': 'yes' }), anImage())).toThrow(
      'flavor m1.test has hw:locked_memory=yes, but locked memory needs a page size; set hw:mem_page_size on the flavor (small does), or remove the lock',
    )
    expect(() => launchRequest(aFlavor({ 'hw:locked_memory': 'yes' }), anImage({ hw_locked_memory: 'no' }))).toThrow(
      'flavor m1.test has hw:locked_memory=yes but image linux (11111111-2222-3333-4444-555555555555) has hw_locked_memory=no; choose a flavor and an image that agree, or remove the property from one of them',
    )
  })
})

describe('what a refusal about memory tells programs', () => {
  const details = (specs: Specs, properties: Properties) => {
    try {
      launchRequest(aFlavor(specs), anImage(properties))
    } catch (error) {
      return (error as { details: unknown }).details
    }
  }
  const image = '11111111-2222-3333-4444-555555555555'

  it.each([
    [
      { 'hw:mem_page_size': 'small' },
      { hw_mem_page_size: '2MB' },
      {
        flavor: 'm1.test',
        image,
        property: 'hw_mem_page_size',
        value: '2MB',
        against: 'small',
        fix: 'set hw:mem_page_size=large or any on the flavor',
      },
    ],
    [
      { 'hw:mem_page_size': 'x'.repeat(80) },
      {},
      {
        owner: 'flavor m1.test',
        property: 'hw:mem_page_size',
        value: 'x'.repeat(64),
        fix: 'write small, large, any, or a size that x86 has: 4KB, 2MB, 1GB, or in KiB 4, 2048, 1048576',
      },
    ],
    [
      { 'hw:locked_memory': 'yes' },
      { hw_locked_memory: 'no' },
      {
        flavor: 'm1.test',
        image,
        flavor_value: true,
        image_value: false,
        fix: 'choose a flavor and an image that agree, or remove the property from one of them',
      },
    ],
    [
      {},
      { hw_locked_memory: true },
      {
        owner: `image linux (${image})`,
        property: 'hw_locked_memory',
        value: true,
        fix: 'set hw:mem_page_size on the flavor (small does), or remove the lock',
      },
    ],
    [
      {},
      { hw_firmware_stateless: 'yes' },
      {
        owner: `image linux (${image})`,
        property: 'hw_firmware_stateless',
        value: 'yes',
        fix: 'set hw_firmware_type=uefi too, or remove hw_firmware_stateless',
      },
    ],
  ] as [Specs, Properties, unknown][])('%j with %j', (specs, properties, expected) => {
    expect(details(specs, properties)).toEqual(expected)
  })
})

describe('a decision that has travelled', () => {
  const asked = launchRequest(aFlavor({ 'hw:mem_encryption': 'true' }), anImage())
  const nothing = launchRequest(aFlavor(), anImage())
  const either = launchRequest(
    aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-es,amd-sev' }),
    anImage(),
  )
  const sev = { model: 'amd-sev', policy: '0x0033', requested_by: 'flavor' } as const
  const es = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' } as const

  it('is taken when it says what flavor and image say, whoever of them is named as the asker', () => {
    expect(() => refuseDisagreement(asked, sev)).not.toThrow()
    expect(() => refuseDisagreement(asked, { ...sev, requested_by: 'image' })).not.toThrow()
    expect(() => refuseDisagreement(nothing, null)).not.toThrow()
  })

  it('is taken when it is one of several that will do, and says which', () => {
    expect(refuseDisagreement(either, es).encryption).toEqual(es)
    expect(refuseDisagreement(either, sev).encryption).toEqual(sev)
  })

  it.each([
    [asked, null, 'nothing', 'amd-sev with policy 0x0033'],
    [nothing, sev, 'amd-sev with policy 0x0033', 'nothing'],
    [asked, { ...sev, policy: '0x0001' }, 'amd-sev with policy 0x0001', 'amd-sev with policy 0x0033'],
    [asked, { ...sev, model: 'amd-sev-es' }, 'amd-sev-es with policy 0x0033', 'amd-sev with policy 0x0033'],
    [either, null, 'nothing', 'amd-sev-es with policy 0x0037 or amd-sev with policy 0x0033'],
    [
      either,
      { ...es, policy: '0x0033' },
      'amd-sev-es with policy 0x0033',
      'amd-sev-es with policy 0x0037 or amd-sev with policy 0x0033',
    ],
    [
      either,
      { ...es, model: 'amd-sev-snp', policy: '0x00030000' },
      'amd-sev-snp with policy 0x00030000',
      'amd-sev-es with policy 0x0037 or amd-sev with policy 0x0033',
    ],
    [
      asked,
      { ...sev, model: 'amd-sev-es', policy: '0x0037' },
      'amd-sev-es with policy 0x0037',
      'amd-sev with policy 0x0033',
    ],
  ] as const)('%j is refused when it carries %j', (request, decided, value, expected) => {
    expect(() => refuseDisagreement(request, decided)).toThrow(
      expect.objectContaining({
        code: 'INVALID_PROPERTY',
        message: `the instance carries mem_encryption ${value}, but its flavor and image ask for ${expected}; it is not started`,
        details: { property: 'mem_encryption', value, expected, fix: 'create the instance anew' },
      }),
    )
  })
})

describe('the door for flavor and image', () => {
  it('judges encryption before memory, as Nova does', () => {
    expect(backing({ 'hw:mem_encryption': 'true', 'hw:locked_memory': 'true' })).toBe('FLAVOR_IMAGE_CONFLICT')
  })

  it.each([
    [{ hw_firmware_stateless: true }, 'INVALID_PROPERTY'],
    [{ hw_firmware_stateless: true, hw_firmware_type: 'bios' }, 'INVALID_PROPERTY'],
    [{ hw_firmware_stateless: 'maybe', hw_firmware_type: 'uefi' }, 'INVALID_PROPERTY'],
    [{ hw_firmware_type: 'efi' }, 'INVALID_PROPERTY'],
    [
      { hw_firmware_stateless: true, hw_firmware_type: 'uefi' },
      { locked: false, pageSize: undefined },
    ],
    [{ hw_firmware_stateless: false }, { locked: false, pageSize: undefined }],
  ] as [Properties, unknown][])('knows stateless firmware only as UEFI: %j is %j', (properties, expected) => {
    expect(backing({}, properties)).toEqual(expected)
  })
})
