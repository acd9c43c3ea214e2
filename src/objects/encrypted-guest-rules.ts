import { FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired } from '../errors.ts'
import { requestedFirmware } from './firmware-request.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import { requestedHostDevice } from './host-devices.ts'
import { type ImageMeta, imageLabel, placeOfProperties } from './image-meta.ts'
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
  models: readonly MemEncryptionRules[],
  requestedBy: MemEncryption['requested_by'],
  judge: Judge,
): void {
  const asked = { flavor, image, models, requestedBy }
  judge(() => requireUefi(asked))
  judge(() => requireQ35(asked))
  const stateless = models.find(({ needsStatelessFirmware }) => needsStatelessFirmware)
  if (stateless) judge(() => requireStatelessFirmware(asked, stateless))
  judge(() => requireBootBusOffVirtioBlk(asked))
  judge(() => requireCdromBusOfQ35(asked))
  judge(() => refuseHostDevices(asked))
}

/** An encrypted guest to be, and who wants it so: a refusal names him, for it may be his request that must change. */
interface Asked {
  readonly flavor: Flavor
  readonly image: ImageMeta
  /** Each of them will do, so the guest must be able to run with each. */
  readonly models: readonly MemEncryptionRules[]
  readonly requestedBy: MemEncryption['requested_by']
}

function askersOf({ flavor, image, requestedBy }: Asked): string {
  const askers = {
    flavor: flavorLabel(flavor),
    image: `${imageLabel(image)} with ${flavorLabel(flavor)}`,
    'flavor and image': `${flavorLabel(flavor)} and ${imageLabel(image)}`,
  }
  return askers[requestedBy]
}

function labelsOf({ models }: Asked): string {
  return models.map(({ label }) => label).join(' and ')
}

function facts({ flavor, image }: Asked, property: string, value: unknown, fix: string) {
  return { flavor: flavor.name, image: image.id ?? null, property, value, fix }
}

function requireUefi(asked: Asked): void {
  const { image, requestedBy } = asked
  const { type } = requestedFirmware(image)
  if (type === 'uefi') return
  const fix = `set hw_firmware_type=uefi ${placeOfProperties(image)}`
  throw new FlavorImageConflict(
    `memory encryption was asked for by ${askersOf(asked)}, but ${imageLabel(image)} has hw_firmware_type=${type ?? '<unset>'}, and encrypted guests boot with UEFI; ${fix}`,
    { ...facts(asked, 'hw_firmware_type', type ?? null, fix), requested_by: requestedBy },
  )
}

/** When the image leaves the machine type open, a host must be found whose default is q35: the scheduler's filter. */
function requireQ35(asked: Asked): void {
  const { image } = asked
  const machineType = image.properties.hw_machine_type
  if (machineType === undefined || machineType === null || isQ35(String(machineType))) return
  const fix = `set hw_machine_type=q35 ${placeOfProperties(image)}, or remove it`
  throw new InvalidMachineType(
    `${imageLabel(image)} has hw_machine_type=${machineType}, but ${labelsOf(asked)} guests, asked for by ${askersOf(asked)}, need q35; ${fix}`,
    facts(asked, 'hw_machine_type', machineType, fix),
  )
}

function requireStatelessFirmware(asked: Asked, rules: MemEncryptionRules): void {
  const { image, models } = asked
  if (requestedFirmware(image).stateless) return
  const value = image.properties.hw_firmware_stateless ?? null
  const orWithout = models.length > 1 ? `, or leave ${rules.model} out of the models` : ''
  const fix = `set hw_firmware_stateless=true ${placeOfProperties(image)}${orWithout}`
  throw new StatelessFirmwareRequired(
    `${rules.label}, asked for by ${askersOf(asked)}, needs stateless firmware, but ${imageLabel(image)} has hw_firmware_stateless=${value ?? '<unset>'}; ${fix}`,
    { ...facts(asked, 'hw_firmware_stateless', value, fix), model: rules.model },
  )
}

/** The spec, "Limitations": no virtio-blk boot disk. q35 has no IDE controller at all. */
function requireBootBusOffVirtioBlk(asked: Asked): void {
  const { image } = asked
  const bus = image.properties.hw_disk_bus
  if (bus !== 'virtio' && bus !== 'ide') return
  const fix = 'set hw_disk_bus=scsi with hw_scsi_model=virtio-scsi, or hw_disk_bus=sata, or remove it'
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_disk_bus=${bus}, from which ${labelsOf(asked)} guests, asked for by ${askersOf(asked)}, cannot boot; ${fix}`,
    facts(asked, 'hw_disk_bus', bus, fix),
  )
}

/** The spec, "Limitations": a CD-ROM or config drive on IDE does not work, for q35 has none. */
function requireCdromBusOfQ35(asked: Asked): void {
  const { image } = asked
  if (image.properties.hw_cdrom_bus !== 'ide') return
  const fix = 'set hw_cdrom_bus=sata or scsi, or remove it'
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_cdrom_bus=ide, but ${labelsOf(asked)} guests, asked for by ${askersOf(asked)}, run on q35, which has no IDE; ${fix}`,
    facts(asked, 'hw_cdrom_bus', 'ide', fix),
  )
}

/** The spec, "Limitations": no host device can reach encrypted memory. Nova says so, and lets the guest fail. */
function refuseHostDevices(asked: Asked): void {
  const { flavor, image } = asked
  const property = requestedHostDevice(flavor)
  if (property === undefined) return
  const value = flavor.extra_specs[property]
  const fix = `take a flavor without ${property}, or one and an image that do not ask for encryption`
  throw new FlavorImageConflict(
    `${flavorLabel(flavor)} has ${property}=${value}, but devices of the host cannot be given to ${labelsOf(asked)} guests (${imageLabel(image)}); ${fix}`,
    facts(asked, property, value, fix),
  )
}
