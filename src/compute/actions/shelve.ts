import { GuestNotFound } from '../../errors.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ActionResult, InstanceAction } from '../../objects/instance-action.ts'
import type { ComputePorts } from '../compute-ports.ts'
import type { Action } from '../journal/state.ts'
import { Rollback } from '../rollback.ts'
import { powerOff } from './power-off.ts'
import { powerOn } from './power-on.ts'
import { storeRoot } from './snapshot.ts'

const STAGES = ['shelving_image_pending_upload', 'shelving_image_uploading'] as const

/**
 * The guest goes off, and its root disk becomes an image. It is removed only when its conductor knows of that image, and asks
 * for it; what fails before leaves it as it was.
 *
 * @throws GuestNotFound, HostCapabilityMissing, DiskCreationFailed, or what stopping a guest throws
 */
export async function shelve(
  begun: Action,
  { image, clean_shutdown }: Extract<InstanceAction, { name: 'shelve' }>,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { driver, logger } = ports
  const { instance } = begun
  const { uuid } = instance
  const guest = await driver.guest(uuid, signal)
  if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  await using rollback = new Rollback(({ step, error }) =>
    logger.error({ instance_uuid: uuid, step, err: error }, 'undo failed; a start puts it right'),
  )
  rollback.add('start it again', () => startAgain(instance, ports, signal))
  if (guest.state !== 'shutoff') await powerOff(instance, { clean_shutdown }, ports, signal)
  const copy = () => driver.copyRoot(uuid, signal)
  const result = await storeRoot(begun, image, { copy, stages: STAGES }, ports, signal)
  rollback.commit()
  return result
}

/** Given up for newer work, or because the worker stops, it is left to those. */
async function startAgain(instance: Instance, ports: ComputePorts, signal: AbortSignal): Promise<void> {
  // One that was suspended has its saved memory still.
  if (signal.aborted || instance.vm_state === 'stopped' || instance.vm_state === 'suspended') return
  await powerOn(instance, ports, signal)
}
