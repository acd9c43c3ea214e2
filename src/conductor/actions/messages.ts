import { ComputeApi } from '../../compute/rpc-api.ts'
import type { Instance } from '../../objects/instance.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import { toHost } from '../messages.ts'
import type { ConductorPorts } from '../ports.ts'
import type { CurrentAction } from './action-store.ts'

/** Tells the host what to do; behind what it was told before of the instance. */
export function actionMessage(
  { client }: Pick<ConductorPorts, 'client'>,
  instance: Instance,
  { number, action, context }: CurrentAction,
): DurableMessage {
  const args = { instance, number }
  const to = toHost(instance, instance.host as string)
  switch (action.name) {
    case 'start':
      return client.message(ComputeApi, 'startInstance', context, args, to)
    case 'stop': {
      const { clean_shutdown } = action
      return client.message(ComputeApi, 'stopInstance', context, { ...args, clean_shutdown }, to)
    }
    case 'reboot': {
      const { reboot_type } = action
      return client.message(ComputeApi, 'rebootInstance', context, { ...args, reboot_type }, to)
    }
    case 'pause':
      return client.message(ComputeApi, 'pauseInstance', context, args, to)
    case 'unpause':
      return client.message(ComputeApi, 'unpauseInstance', context, args, to)
    case 'suspend':
      return client.message(ComputeApi, 'suspendInstance', context, args, to)
    case 'resume':
      return client.message(ComputeApi, 'resumeInstance', context, args, to)
    case 'attach_volume':
      return client.message(ComputeApi, 'attachVolume', context, { ...args, volume: action.volume }, to)
    case 'detach_volume':
      return client.message(ComputeApi, 'detachVolume', context, { ...args, volume_id: action.volume_id }, to)
    case 'attach_interface':
      return client.message(ComputeApi, 'attachInterface', context, { ...args, interface: action.interface }, to)
    case 'detach_interface':
      return client.message(ComputeApi, 'detachInterface', context, { ...args, mac: action.mac }, to)
    case 'snapshot':
      return client.message(ComputeApi, 'snapshotInstance', context, { ...args, image: action.image }, to)
    case 'rescue':
      return client.message(ComputeApi, 'rescueInstance', context, { ...args, image: action.image }, to)
    case 'unrescue':
      return client.message(ComputeApi, 'unrescueInstance', context, args, to)
    case 'shelve': {
      const { clean_shutdown, image } = action
      return client.message(ComputeApi, 'shelveInstance', context, { ...args, clean_shutdown, image }, to)
    }
    case 'resize_instance': {
      const { clean_shutdown, storage } = action
      return client.message(ComputeApi, 'resizeInstance', context, { ...args, clean_shutdown, storage }, to)
    }
    case 'live_migration': {
      const { dest, migrate_data } = action
      return client.message(ComputeApi, 'liveMigration', context, { ...args, dest, migrate_data }, to)
    }
    case 'rollback_live_migration':
      return client.message(ComputeApi, 'rollbackLiveMigration', context, args, to)
    case 'finish_revert_resize': {
      const { power_on } = action
      return client.message(ComputeApi, 'finishRevertResize', context, { ...args, power_on }, to)
    }
    default:
      return action satisfies never
  }
}
