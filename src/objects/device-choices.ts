import { InvalidProperty } from '../errors.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { isQ35 } from './machine-type.ts'
import { spelledBoolean, spelledChoice } from './spelled-value.ts'

const DISK_BUSES = ['virtio', 'scsi', 'sata', 'ide', 'usb'] as const

/**
 * What an image may ask for: Nova's words (`nova.objects.fields`, `nova.network.model`), as far as QEMU on x86 has what
 * they name. Left out are floppies, what is Xen's, Parallels' or POWER's, and `buslogic`, which libvirt does not take
 * for QEMU.
 */
const DEVICE_CHOICES = {
  hw_disk_bus: DISK_BUSES,
  hw_cdrom_bus: DISK_BUSES,
  hw_scsi_model: ['virtio-scsi', 'lsilogic', 'lsisas1068', 'lsisas1078', 'vmpvscsi'],
  hw_vif_model: ['virtio', 'e1000', 'e1000e', 'ne2k_pci', 'pcnet', 'rtl8139', 'vmxnet3'],
  hw_video_model: ['virtio', 'vga', 'cirrus', 'qxl', 'bochs', 'vmvga', 'none'],
  hw_input_bus: ['usb', 'virtio'],
  hw_pointer_model: ['usbtablet', 'ps2mouse'],
  hw_rng_model: ['virtio'],
  img_config_drive: ['mandatory', 'optional'],
} as const

type DeviceProperty = keyof typeof DEVICE_CHOICES
const PROPERTIES = Object.keys(DEVICE_CHOICES) as DeviceProperty[]
type DeviceChoice<P extends DeviceProperty> = (typeof DEVICE_CHOICES)[P][number]

/** VMware's names, which Nova reads as the others' in any case of letters. */
const OLD_NAMES: Readonly<Partial<Record<DeviceProperty, Readonly<Record<string, string>>>>> = {
  hw_scsi_model: { lsilogicsas: 'lsisas1068', paravirtual: 'vmpvscsi' },
  hw_vif_model: {
    virtuale1000: 'e1000',
    virtuale1000e: 'e1000e',
    virtualpcnet32: 'pcnet',
    virtualvmxnet3: 'vmxnet3',
  },
}

/** @throws InvalidProperty for a word that names nothing that a guest here can have */
export function deviceChoice<P extends DeviceProperty>(image: ImageMeta, property: P): DeviceChoice<P> | undefined {
  const written = image.properties[property]
  if (written === undefined) return undefined
  const words: readonly DeviceChoice<P>[] = DEVICE_CHOICES[property]
  const oldNames = OLD_NAMES[property]
  const word = oldNames && typeof written === 'string' ? written.toLowerCase() : written
  const modern = oldNames?.[String(word)] ?? word
  const known = words.find((candidate) => candidate === modern)
  return known ?? spelledChoice(imageLabel(image), property, written, words)
}

/** @throws InvalidProperty for what is no truth value */
export function wantsGuestAgent(image: ImageMeta): boolean {
  const property = 'hw_qemu_guest_agent'
  return spelledBoolean(imageLabel(image), property, image.properties[property]) === true
}

/** The image insists on a config drive; who only prefers one gets it where the host's operator says so. */
export function insistsOnConfigDrive(image: ImageMeta): boolean {
  return deviceChoice(image, 'img_config_drive') === 'mandatory'
}

/** Each device that no host could give is told: Nova finds out on the host. @throws InvalidProperty */
export function refuseImpossibleDevices(image: ImageMeta, judge: Judge): void {
  for (const property of PROPERTIES) judge(() => deviceChoice(image, property))
  judge(() => wantsGuestAgent(image))
}

/**
 * q35 has no IDE. A CD-ROM on it is refused whether or not the image insists on one, for the host's operator may give
 * one to every guest. Of an image that leaves the machine type open the host decides. Encrypted guests have rules of
 * their own.
 *
 * @throws InvalidProperty
 */
export function refuseIdeOnQ35(image: ImageMeta, judge: Judge): void {
  const { hw_machine_type: machineType, hw_disk_bus, hw_cdrom_bus } = image.properties
  if (!isQ35(String(machineType))) return
  judge(() => {
    if (hw_disk_bus === 'ide') throw withoutIde(image, 'hw_disk_bus', 'set hw_disk_bus=virtio, scsi or sata')
  })
  judge(() => {
    if (hw_cdrom_bus === 'ide') throw withoutIde(image, 'hw_cdrom_bus', 'set hw_cdrom_bus=sata or scsi')
  })
}

function withoutIde(image: ImageMeta, property: DeviceProperty, change: string): InvalidProperty {
  const owner = imageLabel(image)
  const fix = `${change}, or remove it`
  return new InvalidProperty(
    `${owner} has ${property}=ide, but ${image.properties.hw_machine_type} has no IDE; ${fix}`,
    { owner, property, value: 'ide', fix },
  )
}
