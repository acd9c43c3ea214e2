import { GuestNotFound, InstanceInvalidState, LibvirtError } from '../../errors.ts'
import { refuseEncrypted } from '../../objects/action-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ComputePorts } from '../compute-ports.ts'
import type { Guest } from '../virt-driver.ts'

type Ports = Pick<ComputePorts, 'driver'>

/** @throws GuestNotFound, InstanceInvalidState when the guest does not run */
export async function pause({ uuid }: Instance, { driver }: Ports, signal: AbortSignal): Promise<void> {
  const { state } = await found(uuid, driver, signal)
  if (state === 'paused') return
  if (state !== 'running') throw notLike(uuid, state, 'pause', 'runs')
  await driver.pause(uuid)
}

/** @throws GuestNotFound, InstanceInvalidState when the guest is off */
export async function unpause({ uuid }: Instance, { driver }: Ports, signal: AbortSignal): Promise<void> {
  const { state } = await found(uuid, driver, signal)
  if (state === 'running') return
  if (state !== 'paused') throw notLike(uuid, state, 'unpause', 'is paused')
  await driver.unpause(uuid)
}

/**
 * An encrypted guest is refused before it comes here; should one come all the same, the hypervisor's own refusal is told in
 * the same words.
 *
 * @throws GuestNotFound, InstanceInvalidState when the guest is off, OperationNotSupportedForSEV
 */
export async function suspend(instance: Instance, { driver }: Ports, signal: AbortSignal): Promise<void> {
  const { uuid } = instance
  const { state } = await found(uuid, driver, signal)
  if (state === 'running' || state === 'paused') {
    try {
      return await driver.suspend(uuid)
    } catch (error) {
      if (error instanceof LibvirtError) refuseEncrypted(instance, 'suspend')
      throw error
    }
  }
  if (!(await driver.hasSavedMemory(uuid, signal))) throw notLike(uuid, state, 'suspend', 'runs')
}

/** @throws GuestNotFound, InstanceInvalidState when its memory was not saved, SpawnFailed */
export async function resume({ uuid }: Instance, { driver }: Ports, signal: AbortSignal): Promise<void> {
  const { state } = await found(uuid, driver, signal)
  if (state === 'running') return
  if (!(await driver.hasSavedMemory(uuid, signal))) {
    const fix = `start it anew: sevbus reboot --hard ${uuid}`
    throw new InstanceInvalidState(`the guest ${uuid} has no saved memory to go on with: ${fix}`, {
      instance_uuid: uuid,
      fix,
    })
  }
  await driver.resume(uuid, signal)
}

async function found(uuid: string, driver: ComputePorts['driver'], signal: AbortSignal): Promise<Guest> {
  const guest = await driver.guest(uuid, signal)
  if (guest !== undefined) return guest
  throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
}

function notLike(uuid: string, state: Guest['state'], action: string, needs: string): InstanceInvalidState {
  return new InstanceInvalidState(`the guest ${uuid} is ${state}: ${action} needs one that ${needs}`, {
    instance_uuid: uuid,
    action,
    state,
    fix: `start it anew: sevbus reboot --hard ${uuid}`,
  })
}
