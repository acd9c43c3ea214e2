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
    default:
      return action satisfies never
  }
}
