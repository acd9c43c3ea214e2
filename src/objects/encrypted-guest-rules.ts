import { FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired } from '../errors.ts'
import { requestedFirmware } from './firmware-request.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { requestedHostDevice } from './host-devices.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import type { Judge } from './judge.ts'
import { isQ35 } from './machine-type.ts'
import type { MemEncryption, MemEncryptionRules } from './mem-encryption.ts'

/**
 * What flavor and image must have, and must not, so that the guest can be encrypted: first Nova's three rules in Nova's
 * order, then what the spec names as limits and Nova leaves to fail on the host.
 *
 * @throws FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired, InvalidProperty
 */
export function refuseWhatEncryptedGuestsCannotHave(
  flavor: Flavor,
  image: ImageMeta,
  rules: MemEncryptionRules,
  requestedBy: MemEncryption['requested_by'],
  judge: Judge,
): void {
  judge(() => requireUefi(flavor, image, requestedBy))
  judge(() => requireQ35(image, rules))
  if (rules.needsStatelessFirmware) judge(() => requireStatelessFirmware(image, rules))
  judge(() => requireBootBusOffVirtioBlk(image, rules))
  judge(() => requireCdromBusOfQ35(image, rules))
  judge(() => refuseHostDevices(flavor, image, rules))
}

function requireUefi(flavor: Flavor, image: ImageMeta, requestedBy: MemEncryption['requested_by']): void {
  const { type } = requestedFirmware(image)
  if (type === 'uefi') return
  const askers = {
    flavor: flavorLabel(flavor),
    image: imageLabel(image),
    'flavor and image': `${flavorLabel(flavor)} and ${imageLabel(image)}`,
  }
  const fix = 'set hw_firmware_type=uefi on the image'
  throw new FlavorImageConflict(
    `memory encryption was asked for by ${askers[requestedBy]}, but ${imageLabel(image)} has hw_firmware_type=${type ?? '<unset>'}, and encrypted guests boot with UEFI; ${fix}`,
    {
      flavor: flavor.name,
      image: image.id ?? null,
      property: 'hw_firmware_type',
      value: type ?? null,
      requested_by: requestedBy,
      fix,
    },
  )
}

/** When the image leaves the machine type open, a host must be found whose default is q35: the scheduler's filter. */
function requireQ35(image: ImageMeta, { label }: MemEncryptionRules): void {
  const machineType = image.properties.hw_machine_type
  if (machineType === undefined || machineType === null || isQ35(String(machineType))) return
  const fix = 'set hw_machine_type=q35 on the image, or remove it'
  throw new InvalidMachineType(
    `${imageLabel(image)} has hw_machine_type=${machineType}, but ${label} guests need q35; ${fix}`,
    { image: image.id ?? null, property: 'hw_machine_type', value: machineType, fix },
  )
}

function requireStatelessFirmware(image: ImageMeta, { model, label }: MemEncryptionRules): void {
  if (requestedFirmware(image).stateless) return
  const value = image.properties.hw_firmware_stateless ?? null
  const fix = 'set hw_firmware_stateless=true on the image'
  throw new StatelessFirmwareRequired(
    `${label} needs stateless firmware, but ${imageLabel(image)} has hw_firmware_stateless=${value ?? '<unset>'}; ${fix}`,
    { image: image.id ?? null, property: 'hw_firmware_stateless', value, model, fix },
  )
}

/** The spec, "Limitations": no virtio-blk boot disk. q35 has no IDE controller at all. */
function requireBootBusOffVirtioBlk(image: ImageMeta, { label }: MemEncryptionRules): void {
  const bus = image.properties.hw_disk_bus
  if (bus !== 'virtio' && bus !== 'ide') return
  const fix = 'set hw_disk_bus=scsi with hw_scsi_model=virtio-scsi, or hw_disk_bus=sata, or remove it'
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_disk_bus=${bus}, from which ${label} guests cannot boot; ${fix}`,
    { image: image.id ?? null, property: 'hw_disk_bus', value: bus, fix },
  )
}

/** The spec, "Limitations": a CD-ROM or config drive on IDE does not work, for q35 has none. */
function requireCdromBusOfQ35(image: ImageMeta, { label }: MemEncryptionRules): void {
  const bus = image.properties.hw_cdrom_bus
  if (bus !== 'ide') return
  const fix = 'set hw_cdrom_bus=sata or scsi, or remove it'
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_cdrom_bus=ide, but ${label} guests run on q35, which has no IDE; ${fix}`,
    { image: image.id ?? null, property: 'hw_cdrom_bus', value: bus, fix },
  )
}

/** The spec, "Limitations": no host device can reach encrypted memory. Nova says so, and lets the guest fail. */
function refuseHostDevices(flavor: Flavor, image: ImageMeta, { label }: MemEncryptionRules): void {
  const property = requestedHostDevice(flavor)
  if (property === undefined) return
  const value = flavor.extra_specs[property]
  const fix = `take a flavor without ${property}, or one and an image that do not ask for encryption`
  throw new FlavorImageConflict(
    `${flavorLabel(flavor)} has ${property}=${value}, but devices of the host cannot be given to ${label} guests (${imageLabel(image)}); ${fix}`,
    { flavor: flavor.name, image: image.id ?? null, property, value, fix },
  )
}
