/** Names are shorter; what is longer is none. */
export const MAX_MACHINE_TYPE = 64

/**
 * Is this machine type of the q35 family? `q35`, or a version of it: `pc-q35-7.2`, `pc-q35-rhel9.2.0`.
 *
 * libvirt's own rule, by which it gives a guest PCIe and no IDE. Nova takes any name with `q35` in it; a name that
 * libvirt does not take for q35 would get the guest a machine without them.
 */
export function isQ35(machineType: string): boolean {
  return machineType === 'q35' || /^pc-q35-./.test(machineType)
}
