import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { memEncryptionRequest } from '../../src/objects/mem-encryption-request.ts'
import { launchFlavor, resourceRequest } from '../../src/objects/resource-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const UEFI = { hw_firmware_type: 'uefi' }

function outcome(extraSpecs: Record<string, string>, properties: ImageMeta['properties'] = UEFI): string {
  try {
    const encryption = memEncryptionRequest(aFlavor(extraSpecs), anImage(properties))
    return encryption ? `${encryption.model} ${encryption.policy} by ${encryption.requested_by}` : 'in clear'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('memory encryption, from flavor and image', () => {
  const flavorValues = [undefined, 'false', 'true'] as const
  const imageValues = [undefined, false, true] as const

  it.each([
    [undefined, undefined, 'in clear'],
    [undefined, false, 'in clear'],
    [undefined, true, 'amd-sev 0x0033 by image'],
    ['false', undefined, 'in clear'],
    ['false', false, 'in clear'],
    ['false', true, 'FLAVOR_IMAGE_CONFLICT'],
    ['true', undefined, 'amd-sev 0x0033 by flavor'],
    ['true', false, 'FLAVOR_IMAGE_CONFLICT'],
    ['true', true, 'amd-sev 0x0033 by flavor and image'],
  ] as const)('flavor %s with image %s is: %s', (flavor, image, expected) => {
    const extraSpecs: Record<string, string> = flavor === undefined ? {} : { 'hw:mem_encryption': flavor }

    expect(outcome(extraSpecs, image === undefined ? UEFI : { ...UEFI, hw_mem_encryption: image })).toBe(expected)
  })

  it('has a row in the table above for each pair of values', () => {
    expect(flavorValues.length * imageValues.length).toBe(9)
  })

  it.each(['true', 'True', 'TRUE', ' 1 ', 'yes', 'on', 't', 'y', 'Y'])('reads %j as true', (word) => {
    expect(outcome({ 'hw:mem_encryption': word })).toBe('amd-sev 0x0033 by flavor')
    expect(outcome({}, { ...UEFI, hw_mem_encryption: word })).toBe('amd-sev 0x0033 by image')
  })

  it.each(['tru', '', '2', 'enabled', 'null'])('refuses %j instead of booting in clear', (word) => {
    expect(outcome({ 'hw:mem_encryption': word })).toBe('INVALID_PROPERTY')
    expect(outcome({}, { ...UEFI, hw_mem_encryption: word })).toBe('INVALID_PROPERTY')
  })

  it.each([
    ['amd-sev', 'amd-sev 0x0033 by flavor'],
    ['amd-sev-es', 'amd-sev-es 0x0037 by flavor'],
    ['amd-sev-snp', 'STATELESS_FIRMWARE_REQUIRED'],
    ['intel-tdx', 'INVALID_PROPERTY'],
  ])('the model %s gives: %s', (model, expected) => {
    expect(outcome({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': model })).toBe(expected)
  })

  it('takes the model from whoever names it, and refuses two that differ', () => {
    const asked = { 'hw:mem_encryption': 'true' }
    const es = { ...UEFI, hw_mem_encryption_model: 'amd-sev-es' }

    expect(outcome(asked, es)).toBe('amd-sev-es 0x0037 by flavor')
    expect(outcome({ ...asked, 'hw:mem_encryption_model': 'amd-sev' }, es)).toBe('FLAVOR_IMAGE_CONFLICT')
  })

  it('gives SEV-SNP its policy when the firmware is stateless', () => {
    const image = { ...UEFI, hw_firmware_stateless: 'true' }

    expect(outcome({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp' }, image)).toBe(
      'amd-sev-snp 0x00030000 by flavor',
    )
  })

  it('refuses a model that nobody asked to use', () => {
    expect(outcome({ 'hw:mem_encryption_model': 'amd-sev' })).toBe('INVALID_PROPERTY')
    expect(outcome({}, { ...UEFI, hw_mem_encryption_model: 'amd-sev' })).toBe('INVALID_PROPERTY')
  })

  it("takes the spec's low-level form as a request for exactly one slot", () => {
    expect(outcome({ 'resources:MEM_ENCRYPTION_CONTEXT': '1' })).toBe('amd-sev 0x0033 by flavor')
    for (const amount of ['0', '2', 'one']) {
      expect(outcome({ 'resources:MEM_ENCRYPTION_CONTEXT': amount })).toBe('INVALID_PROPERTY')
    }
    expect(outcome({ 'resources:MEM_ENCRYPTION_CONTEXT': '1', 'hw:mem_encryption': 'false' })).toBe('INVALID_PROPERTY')
  })

  it.each([
    [{ 'resources1:MEM_ENCRYPTION_CONTEXT': '1' }, {}],
    [{ 'resources_sev:MEM_ENCRYPTION_CONTEXT': '1', 'hw:mem_encryption': 'true' }, {}],
    [{ hw_mem_encryption: 'true' }, {}],
    [{}, { 'hw:mem_encryption': 'true' }],
    [{ 'trait:HW_CPU_X86_AMD_SEV': 'required' }, {}],
    [{}, { 'trait:HW_CPU_X86_AMD_SEV_SNP': 'required' }],
  ] as [Record<string, string>, ImageMeta['properties']][])(
    'refuses the misspelled request %j, %j',
    (specs, properties) => {
      expect(outcome(specs, { ...UEFI, ...properties })).toBe('INVALID_PROPERTY')
    },
  )

  it('lets a trait stand beside a request, and a forbidden one anywhere', () => {
    expect(outcome({ 'hw:mem_encryption': 'true', 'trait:HW_CPU_X86_AMD_SEV': 'required' })).toBe(
      'amd-sev 0x0033 by flavor',
    )
    expect(outcome({ 'trait:HW_CPU_X86_AMD_SEV': 'forbidden' })).toBe('in clear')
  })

  it.each([
    ['BIOS firmware', { hw_firmware_type: 'bios' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['firmware left open', {}, 'FLAVOR_IMAGE_CONFLICT'],
    ['machine type pc', { ...UEFI, hw_machine_type: 'pc' }, 'INVALID_MACHINE_TYPE'],
    ['a versioned q35', { ...UEFI, hw_machine_type: 'pc-q35-7.2' }, 'amd-sev 0x0033 by flavor'],
    ['a virtio-blk boot disk', { ...UEFI, hw_disk_bus: 'virtio' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['an IDE boot disk', { ...UEFI, hw_disk_bus: 'ide' }, 'FLAVOR_IMAGE_CONFLICT'],
    ['a SATA boot disk', { ...UEFI, hw_disk_bus: 'sata' }, 'amd-sev 0x0033 by flavor'],
  ])('an image with %s gives: %s', (_what, properties, expected) => {
    expect(outcome({ 'hw:mem_encryption': 'true' }, properties as ImageMeta['properties'])).toBe(expected)
  })

  it('names flavor, image, property, value and the fix', () => {
    const image = { ...anImage({ ...UEFI, hw_mem_encryption: true }), name: null, id: null }
    const flavor = aFlavor({ 'hw:mem_encryption': 'false' })

    expect(() => memEncryptionRequest(flavor, image)).toThrow(
      'flavor m1.test has hw:mem_encryption=false but image <no-name> (<no-id>) has hw_mem_encryption=true; choose a flavor and an image that agree',
    )
  })

  it('names the image when it was the image that asked', () => {
    const image = anImage({ hw_firmware_type: 'bios', hw_mem_encryption: true })

    expect(() => memEncryptionRequest(aFlavor(), image)).toThrow(/asked for by image linux .* hw_firmware_type=bios/)
  })

  it('never leaves a request without an answer: encrypted as asked, in clear because nobody asked, or refused by code', () => {
    const word = fc.oneof(fc.constantFrom('true', 'false', '1', 'no', 'amd-sev', 'amd-sev-es', 'tru', ''), fc.string())
    const specs = fc.dictionary(
      fc.constantFrom('hw:mem_encryption', 'hw:mem_encryption_model', 'resources:MEM_ENCRYPTION_CONTEXT'),
      word,
    )
    const properties = fc.dictionary(
      fc.constantFrom(
        'hw_mem_encryption',
        'hw_mem_encryption_model',
        'hw_firmware_type',
        'hw_machine_type',
        'hw_disk_bus',
      ),
      fc.oneof(word, fc.boolean(), fc.constant('uefi'), fc.constant('q35')),
    )

    fc.assert(
      fc.property(specs, properties, (extraSpecs, imageProperties) => {
        const asked = [
          extraSpecs['hw:mem_encryption'],
          extraSpecs['resources:MEM_ENCRYPTION_CONTEXT'],
          imageProperties.hw_mem_encryption,
        ].some((value) => value === true || ['1', 'true'].includes(String(value)))
        const result = outcome(extraSpecs, imageProperties)

        if (asked) expect(result).not.toBe('in clear')
        expect(result).toMatch(/^(in clear|amd-sev.* by .*|[A-Z_]+)$/)
      }),
    )
  })
})

describe('what a launch takes', () => {
  const encryption = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'image' } as const

  it('is one slot of the pool with the trait, beside what the flavor has', () => {
    const flavor = aFlavor({}, { vcpus: 2, memory_mb: 4096, root_gb: 20, ephemeral_gb: 5, swap: 1500 })

    expect(resourceRequest(flavor, encryption)).toEqual({
      root: { VCPU: 2, MEMORY_MB: 4096, DISK_GB: 27 },
      pool: { trait: 'HW_CPU_X86_AMD_SEV_ES', resources: { MEM_ENCRYPTION_CONTEXT: 1 } },
    })
  })

  it('is no slot and no disk when the flavor has none', () => {
    expect(resourceRequest(aFlavor({}, { root_gb: 0 }), null)).toEqual({ root: { VCPU: 1, MEMORY_MB: 1024 } })
  })

  it('is visible in the extra specs of this launch, and not in the flavor', () => {
    const flavor = aFlavor({ 'quota:cpu_shares': '1' })

    expect(launchFlavor(flavor, encryption).extra_specs).toEqual({
      'quota:cpu_shares': '1',
      'resources:MEM_ENCRYPTION_CONTEXT': '1',
      'trait:HW_CPU_X86_AMD_SEV_ES': 'required',
    })
    expect(flavor.extra_specs).toEqual({ 'quota:cpu_shares': '1' })
    expect(launchFlavor(flavor, null)).toBe(flavor)
  })
})
