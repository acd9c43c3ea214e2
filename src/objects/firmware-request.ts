import { InvalidProperty } from '../errors.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
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
