import { isQ35 } from '../../objects/machine-type.ts'
import type { HostFilter } from './host-filter.ts'

/**
 * An encrypted guest needs q35. An image that leaves the machine type open gets the host's default, so only hosts whose
 * default is q35 will do: Nova finds that out on the host, and burns all its tries on it. One that names a type needs a
 * host that has it.
 */
export const machineType: HostFilter = {
  name: 'MachineType',
  fix: 'name a machine type on the image that the hosts have (hw_machine_type=q35), or make q35 the default of a host',
  reject: ({ defaultMachineType, machineTypes }, { spec }) => {
    const asked = spec.image.properties.hw_machine_type
    if (asked !== undefined && asked !== null) {
      const isKnown = machineTypes.length === 0 || machineTypes.includes(String(asked))
      return isKnown ? undefined : `has no machine type ${asked}, which the image asks for`
    }
    if (spec.mem_encryption === null || isQ35(defaultMachineType)) return undefined
    return `default machine type is ${defaultMachineType}, an encrypted guest needs q35 and its image names none`
  },
}
