import { FlavorImageConflict, InvalidMachineType, InvalidProperty, StatelessFirmwareRequired } from '../errors.ts'
import type { Flavor } from './flavor.ts'
import { type ImageMeta, imageLabel } from './image-meta.ts'
import {
  MEM_ENCRYPTION_MODELS,
  type MemEncryption,
  type MemEncryptionModel,
  MemEncryptionModel as ModelSchema,
  policyHex,
} from './mem-encryption.ts'
import { MEM_ENCRYPTION_CONTEXT } from './resources.ts'
import { spelledBoolean, spelledChoice } from './spelled-value.ts'

const CONTEXT_SPEC = `resources:${MEM_ENCRYPTION_CONTEXT}`

/**
 * Decides whether a guest's memory is encrypted, and how; undefined when nobody asked.
 *
 * Rules: the spec, "Proposed change"; Nova's `get_mem_encryption_constraint` for what conflicts. Stricter than Nova
 * where Nova would start a guest in clear or fail on the host: junk values, an unknown model and a model without a
 * request are refused here.
 *
 * @throws FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired, InvalidProperty: each names the owner,
 *   the property, its value and the fix
 */
export function memEncryptionRequest(flavor: Flavor, image: ImageMeta): MemEncryption | undefined {
  refuseMisspelledRequests(flavor, image)
  const byFlavor = flavorAsks(flavor)
  const byImage = spelledBoolean(imageLabel(image), 'hw_mem_encryption', image.properties.hw_mem_encryption)
  refuseContradiction(flavor, image, byFlavor, byImage)
  const model = requestedModel(flavor, image)
  if (byFlavor !== true && byImage !== true) {
    refuseModelWithoutRequest(flavor, image, model)
    refuseTraitWithoutRequest(flavor, image)
    return undefined
  }
  const rules = MEM_ENCRYPTION_MODELS[model ?? 'amd-sev']
  const asker = byFlavor && byImage ? 'flavor and image' : byFlavor ? 'flavor' : 'image'
  requireUefi(flavor, image, asker)
  requireQ35(image)
  requireBootBusOffVirtioBlk(image)
  if (rules.needsStatelessFirmware) requireStatelessFirmware(image, rules.model)
  return { model: rules.model, policy: policyHex(rules), requested_by: asker }
}

/** Keys that mean a slot or encryption to their author, and nothing to us: ignored, they would boot a guest in clear. */
const GROUPED_CONTEXT = new RegExp(`^resources[^:]+:${MEM_ENCRYPTION_CONTEXT}$`)
const IMAGE_KEYS = ['hw_mem_encryption', 'hw_mem_encryption_model']
const FLAVOR_KEYS = ['hw:mem_encryption', 'hw:mem_encryption_model', CONTEXT_SPEC]

function refuseMisspelledRequests(flavor: Flavor, image: ImageMeta): void {
  for (const [key, value] of Object.entries(flavor.extra_specs)) {
    if (!GROUPED_CONTEXT.test(key) && !IMAGE_KEYS.includes(key)) continue
    throw misplaced(flavorLabel(flavor), key, value, 'write hw:mem_encryption=true')
  }
  for (const [key, value] of Object.entries(image.properties)) {
    if (!FLAVOR_KEYS.includes(key)) continue
    throw misplaced(imageLabel(image), key, value, 'write hw_mem_encryption=true')
  }
}

/** The spec: the trait is not how encryption is asked for. With a request it may stand beside it. */
function refuseTraitWithoutRequest(flavor: Flavor, image: ImageMeta): void {
  for (const { trait } of Object.values(MEM_ENCRYPTION_MODELS)) {
    const key = `trait:${trait}`
    if (flavor.extra_specs[key] === 'required') {
      throw misplaced(flavorLabel(flavor), key, 'required', 'write hw:mem_encryption=true')
    }
    if (image.properties[key] === 'required') {
      throw misplaced(imageLabel(image), key, 'required', 'write hw_mem_encryption=true')
    }
  }
}

function misplaced(owner: string, property: string, value: unknown, fix: string): InvalidProperty {
  const message = `${owner} has ${property}=${String(value)}, which asks for no encryption here; ${fix}, or remove it`
  return new InvalidProperty(message, { owner, property, value, fix })
}

/** `hw:mem_encryption`, or the spec's own low-level form `resources:MEM_ENCRYPTION_CONTEXT=1`. */
function flavorAsks(flavor: Flavor): boolean | undefined {
  const asked = spelledBoolean(flavorLabel(flavor), 'hw:mem_encryption', flavor.extra_specs['hw:mem_encryption'])
  const amount = flavor.extra_specs[CONTEXT_SPEC]
  if (amount === undefined) return asked
  if (amount.trim() !== '1') {
    throw new InvalidProperty(
      `${flavorLabel(flavor)} has ${CONTEXT_SPEC}=${JSON.stringify(amount)}; a guest takes exactly one slot: write 1, or hw:mem_encryption=true instead`,
      { owner: flavorLabel(flavor), property: CONTEXT_SPEC, value: amount, fix: 'write hw:mem_encryption=true' },
    )
  }
  if (asked === false) {
    throw new InvalidProperty(
      `${flavorLabel(flavor)} has both ${CONTEXT_SPEC}=1 and hw:mem_encryption=${flavor.extra_specs['hw:mem_encryption']}; remove one of them`,
      { owner: flavorLabel(flavor), property: 'hw:mem_encryption', value: false, fix: 'remove one of the two' },
    )
  }
  return true
}

function refuseContradiction(flavor: Flavor, image: ImageMeta, byFlavor?: boolean, byImage?: boolean): void {
  if (byFlavor === undefined || byImage === undefined || byFlavor === byImage) return
  // A flavor that says "no" beside an image that says nothing is no conflict; both spoke here, and differ.
  throw new FlavorImageConflict(
    `${flavorLabel(flavor)} has hw:mem_encryption=${byFlavor} but ${imageLabel(image)} has hw_mem_encryption=${byImage}; choose a flavor and an image that agree`,
    {
      flavor: flavor.name,
      image: image.id ?? null,
      flavor_value: byFlavor,
      image_value: byImage,
      fix: 'choose a flavor and an image that agree, or remove the property from one of them',
    },
  )
}

function requestedModel(flavor: Flavor, image: ImageMeta): MemEncryptionModel | undefined {
  const models = ModelSchema.options
  const byFlavor = spelledChoice(
    flavorLabel(flavor),
    'hw:mem_encryption_model',
    flavor.extra_specs['hw:mem_encryption_model'],
    models,
  )
  const byImage = spelledChoice(
    imageLabel(image),
    'hw_mem_encryption_model',
    image.properties.hw_mem_encryption_model,
    models,
  )
  if (byFlavor !== undefined && byImage !== undefined && byFlavor !== byImage) {
    throw new FlavorImageConflict(
      `${flavorLabel(flavor)} has hw:mem_encryption_model=${byFlavor} but ${imageLabel(image)} has hw_mem_encryption_model=${byImage}; choose a flavor and an image that agree`,
      {
        flavor: flavor.name,
        image: image.id ?? null,
        flavor_value: byFlavor,
        image_value: byImage,
        fix: 'choose a flavor and an image that agree on the model',
      },
    )
  }
  return byFlavor ?? byImage
}

function refuseModelWithoutRequest(flavor: Flavor, image: ImageMeta, model: MemEncryptionModel | undefined): void {
  if (model === undefined) return
  const byFlavor = flavor.extra_specs['hw:mem_encryption_model'] !== undefined
  const owner = byFlavor ? flavorLabel(flavor) : imageLabel(image)
  const property = byFlavor ? 'hw:mem_encryption_model' : 'hw_mem_encryption_model'
  const request = byFlavor ? 'hw:mem_encryption=true' : 'hw_mem_encryption=true'
  throw new InvalidProperty(
    `${owner} has ${property}=${model} but asks for no encryption; add ${request} or remove it`,
    {
      owner,
      property,
      value: model,
      fix: `add ${request}, or remove ${property}`,
    },
  )
}

function requireUefi(flavor: Flavor, image: ImageMeta, asker: MemEncryption['requested_by']): void {
  const firmware = image.properties.hw_firmware_type
  if (firmware === 'uefi') return
  throw new FlavorImageConflict(
    `memory encryption was asked for by ${asker === 'image' ? imageLabel(image) : flavorLabel(flavor)}, but ${imageLabel(image)} has hw_firmware_type=${firmware ?? '<unset>'}; encrypted guests boot with UEFI: set hw_firmware_type=uefi`,
    {
      flavor: flavor.name,
      image: image.id ?? null,
      property: 'hw_firmware_type',
      value: firmware ?? null,
      requested_by: asker,
      fix: 'set hw_firmware_type=uefi on the image',
    },
  )
}

/** When the image leaves the machine type open, a host must be found whose default is q35: the scheduler's filter. */
function requireQ35(image: ImageMeta): void {
  const machineType = image.properties.hw_machine_type
  if (machineType === undefined || machineType === null || String(machineType).includes('q35')) return
  throw new InvalidMachineType(
    `${imageLabel(image)} has hw_machine_type=${machineType}; encrypted guests need q35: set hw_machine_type=q35`,
    { image: image.id ?? null, property: 'hw_machine_type', value: machineType, fix: 'set hw_machine_type=q35' },
  )
}

/** The spec, "Limitations": no virtio-blk boot disk. q35 has no IDE controller at all. */
function requireBootBusOffVirtioBlk(image: ImageMeta): void {
  const bus = image.properties.hw_disk_bus
  if (bus !== 'virtio' && bus !== 'ide') return
  throw new FlavorImageConflict(
    `${imageLabel(image)} has hw_disk_bus=${bus}, from which an encrypted guest cannot boot; set hw_disk_bus=scsi with hw_scsi_model=virtio-scsi, or hw_disk_bus=sata, or leave it unset`,
    { image: image.id ?? null, property: 'hw_disk_bus', value: bus, fix: 'set hw_disk_bus=scsi or remove it' },
  )
}

function requireStatelessFirmware(image: ImageMeta, model: MemEncryptionModel): void {
  const stateless = image.properties.hw_firmware_stateless
  if (spelledBoolean(imageLabel(image), 'hw_firmware_stateless', stateless) === true) return
  throw new StatelessFirmwareRequired(
    `${model} needs stateless firmware, but ${imageLabel(image)} has hw_firmware_stateless=${stateless ?? '<unset>'}; set hw_firmware_stateless=true`,
    {
      image: image.id ?? null,
      property: 'hw_firmware_stateless',
      value: stateless ?? null,
      model,
      fix: 'set hw_firmware_stateless=true on the image',
    },
  )
}

function flavorLabel(flavor: Flavor): string {
  return `flavor ${flavor.name}`
}
