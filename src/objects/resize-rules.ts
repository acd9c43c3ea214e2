import { CannotResizeDisk, CannotResizeToSameFlavor, InstanceInvalidState } from '../errors.ts'
import { type Flavor, flavorLabel } from './flavor.ts'
import type { Instance, VmState } from './instance.ts'
import { launchRequest, refuseDisagreement } from './launch-request.ts'
import type { MemEncryption } from './mem-encryption.ts'

const MOVABLE: readonly VmState[] = ['active', 'stopped']

/**
 * Only what rests on a host can be brought to another: Nova's rule, for resize and cold migration.
 *
 * @param operation Nova's name of it
 * @returns the host
 * @throws InstanceInvalidState
 */
export function hostToMoveFrom(instance: Instance, operation: 'resize' | 'migrate' | 'live-migration'): string {
  const { uuid, vm_state, task_state, host } = instance
  const allowed = operation === 'live-migration' ? MOVABLE.slice(0, 1) : MOVABLE
  if (allowed.includes(vm_state) && task_state === null && host !== null) return host
  const is = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const look = `see how it is with: sevbus show ${uuid}`
  const fix = vm_state === 'resized' ? `decide first: sevbus resize-confirm ${uuid}, or resize-revert` : look
  throw new InstanceInvalidState(
    `instance ${uuid} is ${is}: ${operation} needs an instance that is ${allowed.join(' or ')}, and at rest; ${fix}`,
    { instance_uuid: uuid, action: operation, vm_state, task_state, host, allowed, fix },
  )
}

/**
 * The one door again, with the new flavor: what could not be booted cannot be resized to. What is in a disk cannot be made
 * smaller (Nova's libvirt driver refuses it, too).
 *
 * @returns the best way to run it; null: in clear
 * @throws CannotResizeToSameFlavor, CannotResizeDisk, and what launchRequest throws
 */
export function encryptionOfResize({ flavor, image }: Instance, wanted: Flavor): MemEncryption | null {
  if (flavor.flavorid === wanted.flavorid) {
    const fix = 'name another flavor, or move it as it is: sevbus migrate (migrate_instance)'
    throw new CannotResizeToSameFlavor(`the instance has ${flavorLabel(flavor)} already; ${fix}`, {
      flavorid: flavor.flavorid,
      fix,
    })
  }
  refuseSmallerDisk('root_gb', flavor, wanted)
  refuseSmallerDisk('ephemeral_gb', flavor, wanted)
  return launchRequest(wanted, image).choices[0].encryption ?? null
}

/** A migration asks for what it has, by the rules of now. @throws what launchRequest throws, InvalidProperty */
export function refuseLostEncryption({ flavor, image, mem_encryption }: Instance): void {
  refuseDisagreement(launchRequest(flavor, image), mem_encryption)
}

/** A root disk of 0 GiB is as large as its image: smaller than any that was made larger, and nobody knows how much. */
function refuseSmallerDisk(field: 'root_gb' | 'ephemeral_gb', { [field]: has }: Flavor, wanted: Flavor): void {
  if (wanted[field] >= has) return
  const fix = `take a flavor with ${field} of ${has} or more`
  throw new CannotResizeDisk(
    `${flavorLabel(wanted)} has ${field}=${wanted[field]}, but the instance's disk is of ${has} GiB, and disks cannot be made smaller; ${fix}`,
    { property: field, value: wanted[field], needed: has, fix },
  )
}
