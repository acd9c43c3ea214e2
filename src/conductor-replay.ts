import type { ConductorApi } from './conductor/rpc-api.ts'
import { UnsupportedVersion } from './errors.ts'
import { AnyNotification } from './notifications/notification.ts'
import type { LastTold } from './notifications/positions.ts'
import type { AskForReplay } from './notifications/replay.ts'
import type { ClientOf } from './rpc/contract.ts'
import { newRequestContext } from './rpc/request-context.ts'

type Conductor = ClientOf<typeof ConductorApi>

/**
 * What a consumer misses, from any conductor. Fails while none answers.
 *
 * @param options.signal ends what is asked, with its reason
 */
export function conductorReplay(
  conductor: Pick<Conductor, 'replayEvents'>,
  options: { readonly signal?: AbortSignal } = {},
): AskForReplay<AnyNotification> {
  return async ({ instance_uuid, from, to }) => {
    const notifications: AnyNotification[] = []
    for (let next = from; ; ) {
      const span = { instance_uuid, from: next, to }
      const { events, last_sequence } = await conductor.replayEvents(newRequestContext(), span, options)
      notifications.push(...events.map(({ notification }) => AnyNotification.parse(notification)))
      const last = events.at(-1)
      if (last === undefined || last.sequence >= to) return { notifications, last_sequence }
      next = last.sequence + 1
    }
  }
}

/** How far conductors have counted, from any of them, of at most 1000 instances at a time. Fails as the one above. */
export function conductorLastTold(conductor: Pick<Conductor, 'listLastEvents'>, signal: AbortSignal): LastTold {
  return async (instances) => {
    try {
      const asked = { instance_uuids: [...instances] }
      const { last_events } = await conductor.listLastEvents(newRequestContext(), asked, { signal })
      return new Map(last_events.map(({ instance_uuid, ...position }) => [instance_uuid, position]))
    } catch (error) {
      if (error instanceof UnsupportedVersion) return undefined
      throw error
    }
  }
}
