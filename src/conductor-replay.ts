import type { ConductorApi } from './conductor/rpc-api.ts'
import type { AskForReplay } from './notifications/in-sequence.ts'
import { AnyNotification } from './notifications/notification.ts'
import type { ClientOf } from './rpc/contract.ts'
import { newRequestContext } from './rpc/request-context.ts'

/** What a consumer misses, from any conductor. Fails while none answers. */
export function conductorReplay(
  conductor: Pick<ClientOf<typeof ConductorApi>, 'replayEvents'>,
): AskForReplay<AnyNotification> {
  return async ({ instance_uuid, from, to }) => {
    const found: AnyNotification[] = []
    for (let next = from; next <= to; ) {
      const { events } = await conductor.replayEvents(newRequestContext(), { instance_uuid, from: next, to })
      const last = events.at(-1)
      if (last === undefined) break
      found.push(...events.map(({ notification }) => AnyNotification.parse(notification)))
      next = last.sequence + 1
    }
    return found
  }
}
