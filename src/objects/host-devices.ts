import { InvalidProperty } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import type { Judge } from './judge.ts'

/**
 * How flavors ask Nova for a device of the host: a PCI device by alias, an accelerator by device profile, and the
 * resource classes of GPUs and virtual functions (os-resource-classes), of PCI devices in placement (`CUSTOM_PCI_…`)
 * and of accelerators. Devices that only speak to the host's memory, such as vhost-user, are not among them.
 */
const ALIAS_OR_PROFILE: readonly string[] = ['pci_passthrough:alias', 'accel:device_profile']
const DEVICE_CLASS =
  /^resources[^:]*:(VGPU|PGPU|VGPU_DISPLAY_HEAD|FPGA|PCI_DEVICE|SRIOV_NET_VF|CUSTOM_PCI_.+|ACCELERATOR_.+|CUSTOM_ACCELERATOR_.+)$/

/** The extra spec with which a flavor asks for a device of the host; undefined when it asks for none. */
export function requestedHostDevice(flavor: Flavor): string | undefined {
  for (const key in flavor.extra_specs) {
    if (ALIAS_OR_PROFILE.includes(key)) return key
    if (DEVICE_CLASS.test(key) && flavor.extra_specs[key]?.trim() !== '0') return key
  }
  return undefined
}

/**
 * No host here gives a device of its own away yet: ignored, an alias or a profile would start a guest in clear without the
 * device that its owner ordered. Encrypted guests can have none at all, which is told first; resource classes are
 * refused with all that nobody counts.
 *
 * @throws InvalidProperty
 */
export function refuseHostDevicesInClear(flavor: Flavor, judge: Judge): void {
  for (const property of ALIAS_OR_PROFILE) {
    const value = flavor.extra_specs[property]
    if (value === undefined) continue
    judge(() => {
      const owner = flavorLabel(flavor)
      const fix = `remove it, or take a flavor without ${property}`
      const message = `${owner} has ${property}=${value}, but no host here gives a device of its own to a guest; ${fix}`
      throw new InvalidProperty(message, { owner, property, value, fix })
    })
  }
}
