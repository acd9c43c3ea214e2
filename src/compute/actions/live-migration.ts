import { InstanceInvalidState, InvalidSharedStorage, MigrationError } from '../../errors.ts'
import { refuseEncrypted } from '../../objects/action-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { MigrationOrder } from '../../objects/instance-action.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../objects/live-migrate-data.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { buildDomain } from '../libvirt/build-domain.ts'
import { guestSpec } from '../libvirt/guest-spec.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'

/** @throws OperationNotSupportedForSEV, MigrationError, GuestNotFound */
export async function liveMigrate(
  instance: Instance,
  { dest, migrate_data }: { readonly dest: string; readonly migrate_data: LiveMigrateData },
  { driver, journal }: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { uuid } = instance
  refuseEncrypted(instance, 'live-migration')
  const isOrdered = (order: MigrationOrder) => journal.action(uuid)?.orders?.includes(order) ?? false
  // What an earlier worker has begun ends first; it may have left before it was told.
  if (isOrdered('abort')) await driver.abortLiveMigration(uuid, signal)
  if (isOrdered('abort') && (await isHere(uuid, driver, signal))) throw givenUp(uuid, dest)
  try {
    await driver.liveMigrate(uuid, dest, migrate_data, signal)
  } catch (error) {
    signal.throwIfAborted()
    if (isOrdered('force_complete')) await goOnHere(uuid, driver, signal)
    throw isOrdered('abort') && error instanceof MigrationError ? givenUp(uuid, dest, error) : error
  }
}

async function isHere(uuid: string, driver: ComputePorts['driver'], signal: AbortSignal): Promise<boolean> {
  const state = (await driver.guest(uuid, signal))?.state
  return state === 'running' || state === 'paused'
}

/** It stands still only so that it could be sent. */
async function goOnHere(uuid: string, driver: ComputePorts['driver'], signal: AbortSignal): Promise<void> {
  if ((await driver.guest(uuid, signal))?.state === 'paused') await driver.unpause(uuid)
}

function givenUp(uuid: string, dest: string, cause?: MigrationError): MigrationError {
  const words = `guest ${uuid} has not come to ${dest}: somebody wanted that it is given up`
  return new MigrationError(words, { instance_uuid: uuid, host: dest }, { cause })
}

/**
 * At the source, before anything changes: can its guest leave as it runs?
 *
 * @returns its disks, and where this host looks for disks
 * @throws OperationNotSupportedForSEV, InstanceInvalidState, GuestNotFound
 */
export async function whatWouldLeave(
  instance: Instance,
  { driver, host }: ComputePorts,
  signal: AbortSignal,
): Promise<{ readonly storage: string; readonly disks: LeftDisks }> {
  refuseEncrypted(instance, 'live-migration')
  const { uuid, vm_state } = instance
  const state = (await driver.guest(uuid, signal))?.state ?? 'missing'
  if (state !== 'running') {
    const fix = `look what it does: sevbus show ${uuid}`
    const details = { instance_uuid: uuid, vm_state, guest: state, fix }
    throw new InstanceInvalidState(`its guest on ${host} is ${state}, and only one that runs can go; ${fix}`, details)
  }
  return { storage: await driver.storage(signal), disks: await driver.disksOf(uuid) }
}

/** @param theirs where the source looks for disks @throws InvalidSharedStorage */
export function refuseOtherStorage(uuid: string, host: string, own: string, theirs: string): void {
  if (own === theirs) return
  const fix =
    'give both hosts a folder that they share (compute.shared_instances_path): disks are not copied while a guest runs; migrate moves them while it is off'
  throw new InvalidSharedStorage(
    `host ${host} looks for disks on storage ${own}, and the source on ${theirs}; ${fix}`,
    {
      instance_uuid: uuid,
      storage: theirs,
      destination: own,
      fix,
    },
  )
}

/**
 * At the destination: what the guest needs to come.
 *
 * @throws InvalidSharedStorage, DiskCreationFailed, and what a build throws before it begins
 */
export async function prepareGuest(
  instance: Instance,
  disks: LeftDisks,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<LiveMigrateData> {
  return ports.driver.expectGuest(await domainHere(instance, ports, signal), disks, signal)
}

/** It has come, and runs. @throws MigrationError when it does not */
export async function takeOverGuest(instance: Instance, ports: DomainPorts, signal: AbortSignal): Promise<void> {
  refuseEncrypted(instance, 'live-migration')
  await ports.driver.welcomeGuest(await domainHere(instance, ports, signal), signal)
}

type DomainPorts = Pick<ComputePorts, 'driver' | 'domainOptions' | 'slotLimits'>

async function domainHere(instance: Instance, ports: DomainPorts, signal: AbortSignal) {
  const { driver, domainOptions, slotLimits } = ports
  const { capabilities } = limitSlots(await driver.capabilities(signal), slotLimits)
  return buildDomain(guestSpec(instance, domainOptions), capabilities)
}
