import { InvalidProperty, SecureBootNotSupported } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { spelledBoolean, spelledChoice } from './spelled-value.ts'

export interface FirmwareRequest {
  /** Undefined: left to the host, which takes BIOS. */
  readonly type: 'bios' | 'uefi' | undefined
  /** No variables are kept between boots. */
  readonly stateless: boolean
}

/** @throws InvalidProperty for a value that means nothing */
export function requestedFirmware(image: ImageMeta): FirmwareRequest {
  const owner = imageLabel(image)
  const { hw_firmware_type, hw_firmware_stateless } = image.properties
  const type = spelledChoice(owner, 'hw_firmware_type', hw_firmware_type, ['bios', 'uefi'])
  const stateless = spelledBoolean(owner, 'hw_firmware_stateless', hw_firmware_stateless) === true
  return { type, stateless }
}

/**
 * Secure boot is not offered: firmware for encrypted guests has none, and for others libvirt is told to take one without.
 * Who only prefers it gets a guest without, as in Nova; who requires it is refused.
 *
 * @throws SecureBootNotSupported, or InvalidProperty for a value that means nothing
 */
export function refuseSecureBoot(flavor: Flavor, image: ImageMeta, judge: Judge): void {
  const askers = [
    { owner: flavorLabel(flavor), property: 'os:secure_boot', value: flavor.extra_specs['os:secure_boot'] },
    { owner: imageLabel(image), property: 'os_secure_boot', value: image.properties.os_secure_boot },
  ]
  for (const { owner, property, value } of askers) {
    judge(() => {
      if (spelledChoice(owner, property, value, ['required', 'optional', 'disabled']) !== 'required') return
      const fix = 'set it to optional, or remove it'
      const message = `${owner} has ${property}=required, and no host here offers secure boot; ${fix}`
      throw new SecureBootNotSupported(message, { owner, property, value: 'required', fix })
    })
  }
}

/**
 * Guests boot by their firmware, from their disk. A kernel from outside (Nova's `kernel_id`, `ramdisk_id`) would be
 * ignored, and the disk of such an image has no boot loader.
 *
 * @throws InvalidProperty
 */
export function refuseDirectKernelBoot(image: ImageMeta, judge: Judge): void {
  for (const property of ['kernel_id', 'ramdisk_id']) {
    const value = image.properties[property]
    // Image services keep an emptied property as an empty one.
    if (value === undefined || value === null || value === '') continue
    judge(() => {
      const owner = imageLabel(image)
      const fix = `take an image that has a boot loader of its own and no ${property}`
      const message = `${owner} has ${property}=${value}, but guests boot by their firmware, not by a kernel from outside; ${fix}`
      throw new InvalidProperty(message, { owner, property, value, fix })
    })
  }
}

/** @throws InvalidProperty for stateless firmware that is not UEFI: Nova's rule, for libvirt knows no other */
export function refuseStatelessBios(image: ImageMeta): void {
  const { type, stateless } = requestedFirmware(image)
  if (!stateless || type === 'uefi') return
  const fix = 'set hw_firmware_type=uefi too, or remove hw_firmware_stateless'
  throw new InvalidProperty(
    `${imageLabel(image)} has hw_firmware_stateless=${image.properties.hw_firmware_stateless} but hw_firmware_type=${type ?? '<unset>'}; ${fix}`,
    {
      owner: imageLabel(image),
      property: 'hw_firmware_stateless',
      value: image.properties.hw_firmware_stateless,
      fix,
    },
  )
}
