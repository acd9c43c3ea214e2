import { describe, expect, it } from 'vitest'
import { launchProblems, launchRequest } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const ASKED = { 'hw:mem_encryption': 'true' }
const UEFI = { hw_firmware_type: 'uefi' }

function codes(specs: Record<string, string>, properties: Record<string, string | boolean>) {
  return launchProblems(aFlavor(specs), anImage(properties)).map(({ code, details }) =>
    [code, details.property].filter(Boolean).join(' '),
  )
}

describe('all that is wrong with flavor and image', () => {
  it('is nothing when they would be taken', () => {
    expect(codes(ASKED, UEFI)).toEqual([])
    expect(codes({}, {})).toEqual([])
  })

  it('is told at once, in the order in which a boot would tell one after the other', () => {
    const specs = {
      ...ASKED,
      'hw:mem_encryption_model': 'amd-sev-snp',
      'hw:locked_memory': 'yes',
      'hw:sev_policy': '0x1',
      'pci_passthrough:alias': 'gpu:1',
      'trait:HW_CPU_X86_AMD_SEV': 'required',
    }
    const properties = {
      hw_mem_encryption: false,
      hw_firmware_type: 'bios',
      hw_machine_type: 'pc',
      hw_disk_bus: 'virtio',
      hw_cdrom_bus: 'ide',
    }

    expect(codes(specs, properties)).toEqual([
      'INVALID_PROPERTY hw:sev_policy',
      'FLAVOR_IMAGE_CONFLICT',
      'FLAVOR_IMAGE_CONFLICT hw_firmware_type',
      'INVALID_MACHINE_TYPE hw_machine_type',
      'STATELESS_FIRMWARE_REQUIRED hw_firmware_stateless',
      'FLAVOR_IMAGE_CONFLICT hw_disk_bus',
      'FLAVOR_IMAGE_CONFLICT hw_cdrom_bus',
      'FLAVOR_IMAGE_CONFLICT pci_passthrough:alias',
      'INVALID_PROPERTY trait:HW_CPU_X86_AMD_SEV',
      'LOCK_MEMORY_FORBIDDEN hw:locked_memory',
    ])
  })

  it('begins with what a boot refuses', () => {
    const flavor = aFlavor({ ...ASKED, 'hw:locked_memory': 'yes' })
    const image = anImage({ hw_machine_type: 'pc' })

    expect(() => launchRequest(flavor, image)).toThrow(launchProblems(flavor, image)[0]?.message)
  })

  it('takes a request that cannot be read for one, so that what it would need is told with it', () => {
    expect(codes({ 'hw:mem_encryption': 'tru' }, {})).toEqual([
      'INVALID_PROPERTY hw:mem_encryption',
      'FLAVOR_IMAGE_CONFLICT hw_firmware_type',
    ])
    expect(codes({}, { hw_mem_encryption: 'tru' })).toEqual([
      'INVALID_PROPERTY hw_mem_encryption',
      'FLAVOR_IMAGE_CONFLICT hw_firmware_type',
    ])
    expect(codes({ 'hw:mem_encryption': 'tru', 'hw:mem_encryption_model': 'amd-sev' }, UEFI)).toEqual([
      'INVALID_PROPERTY hw:mem_encryption',
    ])
  })

  it('tells once what two rules stumble over', () => {
    expect(codes(ASKED, { hw_firmware_type: 'UEFI', hw_firmware_stateless: true })).toEqual([
      'INVALID_PROPERTY hw_firmware_type',
    ])
  })

  it('asks for no page size where one is there that cannot be read', () => {
    expect(codes({ 'hw:mem_page_size': 'huge', 'hw:locked_memory': 'yes' }, {})).toEqual([
      'MEMORY_PAGE_SIZE_INVALID hw:mem_page_size',
    ])
    expect(codes({ 'hw:mem_page_size': 'small', 'hw:locked_memory': 'ja' }, {})).toEqual([
      'INVALID_PROPERTY hw:locked_memory',
    ])
    expect(codes({ 'hw:locked_memory': 'ja' }, {})).toEqual(['INVALID_PROPERTY hw:locked_memory'])
  })

  it('has stateless firmware without UEFI among it, of guests in clear too', () => {
    expect(codes({}, { hw_firmware_stateless: true })).toEqual(['INVALID_PROPERTY hw_firmware_stateless'])
  })
})
