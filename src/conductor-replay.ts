import type { ConductorApi } from './conductor/rpc-api.ts'
import { AnyNotification } from './notifications/notification.ts'
import type { AskForReplay } from './notifications/replay.ts'
import type { ClientOf } from './rpc/contract.ts'
import { newRequestContext } from './rpc/request-context.ts'

/** What a consumer misses, from any conductor. Fails while none answers. */
export function conductorReplay(
  conductor: Pick<ClientOf<typeof ConductorApi>, 'replayEvents'>,
): AskForReplay<AnyNotification> {
  return async ({ instance_uuid, from, to }) => {
    const notifications: AnyNotification[] = []
    for (let next = from; ; ) {
      const span = { instance_uuid, from: next, to }
      const { events, last_sequence } = await conductor.replayEvents(newRequestContext(), span)
      notifications.push(...events.map(({ notification }) => AnyNotification.parse(notification)))
      const last = events.at(-1)
      if (last === undefined || last.sequence >= to) return { notifications, last_sequence }
      next = last.sequence + 1
    }
  }
}
