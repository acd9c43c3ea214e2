import { describe, expect, it } from 'vitest'
import { deviceChoice } from '../../src/objects/device-choices.ts'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import { launchProblems, launchRequest } from '../../src/objects/launch-request.ts'
import { aFlavor, anImage } from '../support/requests.ts'

const IMAGE = 'image linux (11111111-2222-3333-4444-555555555555)'
const UEFI = { hw_firmware_type: 'uefi' }
const BUSES = 'virtio, scsi, sata, ide, usb'
const SCSI = 'virtio-scsi, lsilogic, lsisas1068, lsisas1078, vmpvscsi'
const CARDS = 'virtio, e1000, e1000e, ne2k_pci, pcnet, rtl8139, vmxnet3'
const VIDEO = 'virtio, vga, cirrus, qxl, bochs, vmvga, none'

type Specs = Record<string, string>

function messages(specs: Specs, properties: ImageMeta['properties']): string[] {
  return launchProblems(aFlavor(specs), anImage(properties)).map(({ message }) => message)
}

describe('devices that no guest here can have', () => {
  it.each<[string, string | boolean | number, string]>([
    ['hw_vif_model', 7, CARDS],
    ['hw_disk_bus', 'floppy', BUSES],
    ['hw_disk_bus', 'fdc', BUSES],
    ['hw_disk_bus', 'SCSI', BUSES],
    ['hw_disk_bus', '', BUSES],
    ['hw_cdrom_bus', 'xen', BUSES],
    ['hw_scsi_model', 'virtio', SCSI],
    ['hw_scsi_model', 'buslogic', SCSI],
    ['hw_scsi_model', 'ibmvscsi', SCSI],
    ['hw_vif_model', 'netfront', CARDS],
    ['hw_vif_model', 'spapr-vlan', CARDS],
    ['hw_vif_model', 'VirtualVmxnet', CARDS],
    ['hw_video_model', 'gop', VIDEO],
    ['hw_input_bus', 'ps2', 'usb, virtio'],
    ['hw_pointer_model', 'tablet', 'usbtablet, ps2mouse'],
    ['hw_rng_model', 'virtio-transitional', 'virtio'],
    ['img_config_drive', true, 'mandatory, optional'],
  ])('%s=%j is refused with the words that do', (property, value, words) => {
    const message = `${IMAGE} has ${property}=${JSON.stringify(value)}, which means nothing; write one of ${words}`

    expect(messages({}, { ...UEFI, [property]: value })).toEqual([message])
    expect(messages({ 'hw:mem_encryption': 'true' }, { ...UEFI, [property]: value })).toEqual([message])
  })

  it.each<[Specs, ImageMeta['properties'], string]>([
    [
      {},
      { hw_qemu_guest_agent: 'si' },
      `${IMAGE} has hw_qemu_guest_agent="si", which means nothing; write true or false`,
    ],
    [
      { 'hw_rng:allowed': 'never' },
      {},
      'flavor m1.test has hw_rng:allowed="never", which means nothing; write true or false',
    ],
    [{ 'hw_rng:rate_bytes': '1k' }, {}, 'flavor m1.test has hw_rng:rate_bytes="1k"; write a whole number from 1'],
    [{ 'hw_rng:rate_period': '0' }, {}, 'flavor m1.test has hw_rng:rate_period="0"; write a whole number from 1'],
    [
      {},
      { kernel_id: 'k-1' },
      `${IMAGE} has kernel_id=k-1, but guests boot by their firmware, not by a kernel from outside; take an image that has a boot loader of its own and no kernel_id`,
    ],
    [
      {},
      { hw_machine_type: 'q35', hw_disk_bus: 'ide' },
      `${IMAGE} has hw_disk_bus=ide, but q35 has no IDE; set hw_disk_bus=virtio, scsi or sata, or remove it`,
    ],
    [
      {},
      { hw_machine_type: 'pc-q35-7.2', hw_cdrom_bus: 'ide' },
      `${IMAGE} has hw_cdrom_bus=ide, but pc-q35-7.2 has no IDE; set hw_cdrom_bus=sata or scsi, or remove it`,
    ],
    [
      { 'os:secure_boot': 'required' },
      {},
      'flavor m1.test has os:secure_boot=required, and no host here offers secure boot; set it to optional, or remove it',
    ],
    [
      {},
      { os_secure_boot: 'yes' },
      `${IMAGE} has os_secure_boot="yes", which means nothing; write one of required, optional, disabled`,
    ],
  ])('%j with %j is refused', (specs, properties, message) => {
    expect(messages(specs, properties)).toEqual([message])
  })

  it('are told all at once, after what encryption lacks', () => {
    const specs = {
      'hw:mem_encryption': 'true',
      'os:secure_boot': 'required',
      'hw_rng:allowed': '?',
      'hw_rng:rate_bytes': '?',
      'hw_rng:rate_period': '?',
    }
    const properties = {
      hw_firmware_type: 'bios',
      os_secure_boot: 'required',
      kernel_id: 'k-1',
      ramdisk_id: 'r-1',
      hw_disk_bus: 'floppy',
      hw_video_model: 'xen',
      hw_qemu_guest_agent: '?',
    }

    expect(
      launchProblems(aFlavor(specs), anImage(properties)).map(({ code, details }) => [code, details.property]),
    ).toEqual([
      ['FLAVOR_IMAGE_CONFLICT', 'hw_firmware_type'],
      ['SECURE_BOOT_NOT_SUPPORTED', 'os:secure_boot'],
      ['SECURE_BOOT_NOT_SUPPORTED', 'os_secure_boot'],
      ['INVALID_PROPERTY', 'kernel_id'],
      ['INVALID_PROPERTY', 'ramdisk_id'],
      ['INVALID_PROPERTY', 'hw_disk_bus'],
      ['INVALID_PROPERTY', 'hw_video_model'],
      ['INVALID_PROPERTY', 'hw_qemu_guest_agent'],
      ['INVALID_PROPERTY', 'hw_rng:allowed'],
      ['INVALID_PROPERTY', 'hw_rng:rate_bytes'],
      ['INVALID_PROPERTY', 'hw_rng:rate_period'],
    ])
  })

  it('end a launch, and say who has what', () => {
    expect(() => launchRequest(aFlavor(), anImage({ hw_disk_bus: 'floppy' }))).toThrow(
      expect.objectContaining({
        code: 'INVALID_PROPERTY',
        retryable: false,
        details: { owner: IMAGE, property: 'hw_disk_bus', value: 'floppy', fix: `write one of ${BUSES}` },
      }),
    )
    const [ide] = launchProblems(aFlavor(), anImage({ hw_machine_type: 'q35', hw_disk_bus: 'ide' }))
    const [rate] = launchProblems(aFlavor({ 'hw_rng:rate_bytes': `a${'1'.repeat(99)}` }), anImage({}))
    expect(ide?.details).toMatchObject({ owner: IMAGE, property: 'hw_disk_bus', value: 'ide' })
    expect(rate?.details).toMatchObject({ property: 'hw_rng:rate_bytes', value: `a${'1'.repeat(63)}` })
    expect(() => launchRequest(aFlavor(), anImage({ ramdisk_id: 'r-1' }))).toThrow(
      expect.objectContaining({
        details: {
          owner: IMAGE,
          property: 'ramdisk_id',
          value: 'r-1',
          fix: 'take an image that has a boot loader of its own and no ramdisk_id',
        },
      }),
    )
  })

  it('of an encrypted guest on IDE are told once', () => {
    const properties = { ...UEFI, hw_machine_type: 'q35', hw_disk_bus: 'ide', hw_cdrom_bus: 'ide' }

    expect(messages({ 'hw:mem_encryption': 'true' }, { ...properties, img_config_drive: 'mandatory' })).toHaveLength(2)
  })
})

describe('devices that a guest can have', () => {
  it.each<[Specs, ImageMeta['properties']]>([
    [{}, { hw_disk_bus: null, hw_vif_model: null, kernel_id: null }],
    [{}, { kernel_id: '', ramdisk_id: '' }],
    [{}, { hw_disk_bus: 'ide', hw_cdrom_bus: 'ide', img_config_drive: 'mandatory' }],
    [{}, { hw_machine_type: null, hw_disk_bus: 'ide' }],
    [{}, { hw_machine_type: 'pc', hw_disk_bus: 'ide', hw_cdrom_bus: 'ide', img_config_drive: 'mandatory' }],
    [{}, { hw_machine_type: 'q35', hw_cdrom_bus: 'sata', img_config_drive: 'mandatory' }],
    [{ 'os:secure_boot': 'optional' }, { os_secure_boot: 'disabled' }],
    [{ 'hw_rng:allowed': 'No', 'hw_rng:rate_bytes': ' 2048 ', 'hw_rng:rate_period': '1' }, { hw_rng_model: 'virtio' }],
  ])('%j with %j is taken', (specs, properties) => {
    expect(messages(specs, properties)).toEqual([])
  })

  it.each(BUSES.split(', '))('hw_disk_bus=%s', (word) => {
    expect(deviceChoice(anImage({ hw_disk_bus: word }), 'hw_disk_bus')).toBe(word)
  })

  it.each([
    ['hw_scsi_model', 'lsiLogicsas', 'lsisas1068'],
    ['hw_scsi_model', 'paraVirtual', 'vmpvscsi'],
    ['hw_scsi_model', 'VIRTIO-SCSI', 'virtio-scsi'],
    ['hw_vif_model', 'VirtualE1000', 'e1000'],
    ['hw_vif_model', 'VirtualE1000e', 'e1000e'],
    ['hw_vif_model', 'VirtualPCNet32', 'pcnet'],
    ['hw_vif_model', 'VirtualVmxnet3', 'vmxnet3'],
    ['hw_vif_model', 'VIRTIO', 'virtio'],
  ] as const)('%s=%s, as Nova reads it: %s', (property, written, word) => {
    expect(deviceChoice(anImage({ [property]: written }), property)).toBe(word)
  })

  it('are none of what only objects have', () => {
    expect(messages({}, { hw_vif_model: 'constructor' })).toEqual([
      `${IMAGE} has hw_vif_model="constructor", which means nothing; write one of ${CARDS}`,
    ])
  })
})
