import { ConductorApi } from '../../conductor/rpc-api.ts'
import { GuestNotFound } from '../../errors.ts'
import type { ImageMeta } from '../../objects/image-meta.ts'
import type { ActionResult } from '../../objects/instance-action.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { withId } from '../images/base-name.ts'
import { queued } from '../journal/journal.ts'
import type { Action } from '../journal/state.ts'
import { Rollback } from '../rollback.ts'

/**
 * Makes an image of the guest's root disk. A guest that runs stands still while what it has written is copied: QEMU writes
 * out what it holds when it stops the processors, so the copy is the disk as after a loss of power. Its memory is not looked
 * at, so this is done to encrypted guests as to others; what they have encrypted on their disk stays so.
 *
 * @throws GuestNotFound, HostCapabilityMissing, InvalidArguments, DiskCreationFailed
 */
export async function snapshot(
  begun: Action,
  image: ImageMeta,
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<ActionResult> {
  return storeRoot(begun, image, { copy: () => copyStill(begun, ports, signal), stages: STAGES }, ports, signal)
}

type Stage = `${'' | 'shelving_'}image_${'pending_upload' | 'uploading'}`
const STAGES = ['image_pending_upload', 'image_uploading'] as const

/** What nothing writes to while it is copied becomes an image; told in stages. */
export async function storeRoot(
  begun: Action,
  image: ImageMeta,
  { copy, stages }: { readonly copy: () => Promise<void>; readonly stages: readonly [Stage, Stage] },
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<ActionResult> {
  const { driver, logger } = ports
  const { uuid } = begun.instance
  await using rollback = new Rollback(({ step, error }) =>
    logger.error({ instance_uuid: uuid, step, err: error }, 'undo failed; the next snapshot, or the deletion, does it'),
  )
  // In any case: when the image is made, the copy is of no use.
  rollback.add('remove the copy', () => driver.removeCopy(uuid))
  await copy()
  await tell(begun, stages[0], ports)
  signal.throwIfAborted()
  await tell(begun, stages[1], ports)
  return { image_bytes: await driver.storeCopy(uuid, withId(image), signal) }
}

/** One that was to run and stands still was stopped by an earlier try. */
async function copyStill({ instance }: Action, { driver }: ComputePorts, signal: AbortSignal): Promise<void> {
  const { uuid, vm_state } = instance
  const guest = await driver.guest(uuid, signal)
  if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  const isToRun = guest.state === 'running' || (guest.state === 'paused' && vm_state === 'active')
  await using rollback = new Rollback(({ error }) => {
    throw error
  })
  if (isToRun) rollback.add('let it go on', () => goOn(uuid, driver))
  if (guest.state === 'running') await driver.pause(uuid)
  await driver.copyRoot(uuid, signal)
}

async function goOn(uuid: string, driver: ComputePorts['driver']): Promise<void> {
  if ((await driver.guest(uuid, new AbortController().signal))?.state === 'paused') await driver.unpause(uuid)
}

async function tell(
  { instance, number, context }: Action,
  task_state: Stage,
  { host, client, journal, outbox }: ComputePorts,
): Promise<void> {
  const { uuid, attempt } = instance
  const args = { instance_uuid: uuid, attempt, host, number, task_state }
  const message = client.message(ConductorApi, 'reportActionStage', context, args, { orderingKey: uuid })
  await journal.append([queued([message])])
  outbox.announce()
}
