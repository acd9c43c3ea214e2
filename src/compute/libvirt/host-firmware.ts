import type { UefiGuests } from '../../objects/host-report.ts'
import { MEM_ENCRYPTION_MODELS, MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { DomainCapabilities } from './domain-capabilities.ts'
import { type FirmwareFiles, NO_FIRMWARE_FILES } from './domain-options.ts'
import { type FirmwareDescriptor, featuresOf, type UefiFirmware, uefiFirmware } from './firmware-descriptors.ts'

/** UEFI firmware of a host. */
export interface HostFirmware {
  /** libvirt finds some by itself. */
  readonly isFound: boolean
  /** What it can pick from; undefined: the descriptors cannot be read. */
  readonly builds: readonly UefiFirmware[] | undefined
  /** What the operator names. */
  readonly files: FirmwareFiles
}

interface FirmwareSources {
  readonly arch: string
  readonly descriptors?: readonly FirmwareDescriptor[] | undefined
  readonly firmwareFiles?: FirmwareFiles
}

/** @param document of the machine type that guests have */
export function hostFirmware(sources: FirmwareSources, document: DomainCapabilities | undefined): HostFirmware {
  const { arch, descriptors, firmwareFiles: files = NO_FIRMWARE_FILES } = sources
  // Where libvirt finds none, no descriptor matters.
  if (!document?.firmware.includes('efi')) return { isFound: false, builds: [], files }
  return { isFound: true, builds: descriptors && uefiFirmware(descriptors, arch, document.machine ?? ''), files }
}

/** As the capabilities of a host tell it. */
export function firmwareFacts({ isFound, builds, files }: HostFirmware) {
  const isNamed = files.loader !== undefined || files.statelessLoader !== undefined
  const facts = { supportsUefi: isFound, ...(isNamed && { namedFirmware: true }) }
  if (builds === undefined) return facts
  const stateful = builds.filter(({ keepsVariables }) => keepsVariables)
  const stateless = builds.filter((build) => build.stateless)
  return {
    ...facts,
    firmwareFeatures: [...featuresOf(stateful)],
    statelessFirmwareFeatures: [...featuresOf(stateless)],
    uefiGuests: {
      stateful: guestsOf(stateful, files.loader !== undefined),
      stateless: guestsOf(stateless, files.statelessLoader !== undefined),
    },
  }
}

/** Files that the operator names are taken at his word, for any guest. */
function guestsOf(builds: readonly UefiFirmware[], isNamed: boolean): UefiGuests['stateful'] {
  const features = featuresOf(builds)
  const models = MemEncryptionModel.options.filter(
    (model) => isNamed || features.includes(MEM_ENCRYPTION_MODELS[model].firmwareFeature),
  )
  return isNamed || builds.length > 0 ? ['plain', ...models] : []
}

/** Why guests of the model have nothing to boot with here, and what to do; undefined: they have. */
export function lackOfFirmware(
  model: MemEncryptionModel,
  { isFound, builds, files }: HostFirmware,
): string | undefined {
  const { firmwareFeature, needsStatelessFirmware } = MEM_ENCRYPTION_MODELS[model]
  const isNamed = needsStatelessFirmware
    ? files.statelessLoader !== undefined
    : files.loader !== undefined && files.nvramTemplate !== undefined
  if (isNamed) return undefined
  const option = needsStatelessFirmware ? 'compute.uefi_stateless_loader' : 'compute.uefi_loader'
  if (!isFound) return `libvirt finds no UEFI firmware: install OVMF with its descriptors, or set ${option}`
  if (builds === undefined) return undefined
  const remedy = `install an OVMF that does, or set ${option}`
  const capable = builds.filter(({ features }) => features.includes(firmwareFeature))
  if (capable.length === 0) return `no firmware descriptor has ${firmwareFeature}: ${remedy}`
  const fitting = capable.filter(({ stateless, keepsVariables }) =>
    needsStatelessFirmware ? stateless : keepsVariables,
  )
  if (fitting.length === 0) {
    const lack = needsStatelessFirmware ? 'is in memory (device memory)' : KEEPS_VARIABLES
    return `no firmware descriptor with ${firmwareFeature} ${lack}: ${remedy}`
  }
  if (featuresOf(fitting).includes(firmwareFeature)) return undefined
  return `the firmware descriptor with ${firmwareFeature} that libvirt takes, the first by name, is flash, which KVM does not give such guests: override it by one of its name in /etc/qemu/firmware with device memory, or set ${option}`
}

const KEEPS_VARIABLES = 'keeps variables (device memory, or flash of mode split)'
