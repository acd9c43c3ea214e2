import type { ActionResult, InstanceAction } from '../../objects/instance-action.ts'
import type { ComputePorts } from '../compute-ports.ts'
import type { Action } from '../journal/state.ts'
import { doesNotAnswer, untilDone } from '../patience.ts'
import { attachInterface, attachVolume, detachInterface, detachVolume } from './devices.ts'
import { liveMigrate } from './live-migration.ts'
import { powerOff } from './power-off.ts'
import { powerOn } from './power-on.ts'
import { reboot } from './reboot.ts'
import { rescue, unrescue } from './rescue.ts'
import { comeBack, leaveHost } from './resize.ts'
import { shelve } from './shelve.ts'
import { snapshot } from './snapshot.ts'
import { pause, resume, suspend, unpause } from './stand-still.ts'

/**
 * Does what was begun, from what the guest is like now: done again after a crash, it does what is left. While the hypervisor
 * does not answer it goes on asking, for what was accepted is to be done.
 *
 * @returns what only this host can tell of it
 * @throws a SevbusError, or the signal's reason
 */
export async function perform(begun: Action, ports: ComputePorts, signal: AbortSignal): Promise<ActionResult> {
  const { instance, action, context } = begun
  const options = { ...ports, request_id: context.request_id, isWorthAnotherTry: doesNotAnswer }
  return await untilDone(`${action.name} ${instance.uuid}`, () => once(begun, ports, signal), options, signal)
}

async function once(begun: Action, ports: ComputePorts, signal: AbortSignal): Promise<ActionResult> {
  const { instance, action } = begun
  if (action.name === 'attach_volume') return await attachVolume(instance, action.volume, ports, signal)
  if (action.name === 'snapshot') return await snapshot(begun, action.image, ports, signal)
  if (action.name === 'shelve') return await shelve(begun, action, ports, signal)
  if (action.name === 'resize_instance') return await leaveHost(instance, action, ports, signal)
  await change({ ...begun, action }, ports, signal)
  return {}
}

/** An action of whose end there is nothing to tell. */
type PlainAction = Exclude<InstanceAction, { name: 'attach_volume' | 'snapshot' | 'shelve' | 'resize_instance' }>

async function change(
  begun: Action & { action: PlainAction },
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { instance, action } = begun
  switch (action.name) {
    case 'start':
      return await powerOn(instance, ports, signal)
    case 'stop':
      return await powerOff(instance, action, ports, signal)
    case 'reboot':
      // What is written down of it since it was begun counts, too.
      return await reboot(ports.journal.action(instance.uuid) ?? begun, action.reboot_type, ports, signal)
    case 'pause':
      return await pause(instance, ports, signal)
    case 'unpause':
      return await unpause(instance, ports, signal)
    case 'suspend':
      return await suspend(instance, ports, signal)
    case 'resume':
      return await resume(instance, ports, signal)
    case 'detach_volume':
      return await detachVolume(instance, action.volume_id, ports, signal)
    case 'attach_interface':
      return await attachInterface(instance, action.interface, ports, signal)
    case 'detach_interface':
      return await detachInterface(instance, action.mac, ports, signal)
    case 'rescue':
      return await rescue(instance, action.image, ports, signal)
    case 'unrescue':
      return await unrescue(instance, ports, signal)
    case 'live_migration':
      return await liveMigrate(instance, action, ports, signal)
    case 'rollback_live_migration':
      return await comeBack(instance, { power_on: true }, ports, signal)
    case 'finish_revert_resize':
      return await comeBack(instance, action, ports, signal)
    default:
      return action satisfies never
  }
}
