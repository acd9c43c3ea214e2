import { isQ35 } from '../../objects/machine-type.ts'
import type { HostFilter } from './host-filter.ts'

/**
 * An encrypted guest needs q35. An image that leaves the machine type open gets the host's default, so only hosts whose
 * default is q35 will do: Nova finds that out on the host, and burns all its tries on it.
 */
export const machineType: HostFilter = {
  name: 'MachineType',
  fix: 'set hw_machine_type=q35 on the image, or make q35 the default machine type of the host',
  reject: ({ defaultMachineType }, { spec }) => {
    const asked = spec.image.properties.hw_machine_type
    const open = asked === undefined || asked === null
    if (spec.mem_encryption === null || !open || isQ35(defaultMachineType)) return undefined
    return `default machine type is ${defaultMachineType}, an encrypted guest needs q35 and its image names none`
  },
}
