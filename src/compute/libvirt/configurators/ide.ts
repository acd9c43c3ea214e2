import { HostCapabilityMissing } from '../../../errors.ts'
import { isQ35 } from '../../../objects/machine-type.ts'
import type { DiskBus } from '../domain-spec.ts'

/**
 * q35 has no IDE. Whoever left the machine type to the host may do on another one.
 *
 * @param property of the image, which names the bus
 * @throws HostCapabilityMissing
 */
export function refuseIdeOnQ35(bus: DiskBus, machine: string, property: string, fix: string): void {
  if (bus !== 'ide' || !isQ35(machine)) return
  throw new HostCapabilityMissing(`${property} is ide, but ${machine}, which the guest gets here, has no IDE; ${fix}`, {
    property,
    value: bus,
    machine_type: machine,
    fix,
  })
}
