import type { AnyNotification } from '../notifications/notification.ts'
import { BEGINNING, type LastTold, type Position } from '../notifications/positions.ts'
import type { AskForReplay } from '../notifications/replay.ts'
import { numberOf } from '../notifications/sequence-number.ts'
import { MAX_SEQUENCE } from '../objects/event-sequence.ts'
import type { Followed } from './followed.ts'

/** Instances that are asked about at a time: few, for conductors have other work. */
const AT_A_TIME = 8

export interface CatchUpOptions {
  readonly followed: Followed
  /** Of all instances that live, page after page: some may never have been heard of. */
  readonly living: () => AsyncIterable<readonly string[]>
  /** Asked of a thousand instances at the most, so that only those are asked for of which something is missing. */
  readonly lastTold: LastTold
  /** Rejects when it is to end, as the one above. */
  readonly replay: AskForReplay<AnyNotification>
  /** Given those of some instances, each instance's in their order. */
  readonly handle: (notifications: readonly AnyNotification[]) => Promise<unknown>
}

/**
 * Asks conductors what they have told of each instance since the last that is known here. A number that is left out is seen with the
 * next one that comes; where none comes any more, for the last was lost with its queue, this alone finds that an instance has
 * ended, or is there.
 *
 * @throws what `lastTold`, `replay` and `living` do; what was found until then is handled
 */
export async function catchUp({ followed, living, lastTold, replay, handle }: CatchUpOptions): Promise<void> {
  const ask = async (instance_uuid: string, { sequence, message_id }: Position) => {
    const from = Math.max(sequence, 1)
    const { notifications, last_sequence } = await replay({ instance_uuid, from, to: MAX_SEQUENCE })
    if (last_sequence < sequence) {
      // They have counted back, as whoever handles the one that they have last will see.
      const at = Math.max(last_sequence, 1)
      return (await replay({ instance_uuid, from: at, to: at })).notifications
    }
    let later = notifications.filter((each) => (numberOf(each)?.sequence ?? 0) > sequence)
    if (later.length === 0 && last_sequence > sequence) {
      // It may have been told just then: what is not there now either is kept no more.
      const missing = { instance_uuid, from: sequence + 1, to: last_sequence }
      later = [...(await replay(missing)).notifications]
      if (later.length === 0) {
        await followed.noteLost(missing)
        // Not asked for again at each start.
        await followed.positions.write(new Map([[instance_uuid, { sequence: last_sequence, message_id: null }]]))
      }
    }
    // With the one before, where that is another by now: then its number was given twice, as whoever handles it will see.
    const before = notifications.find((each) => numberOf(each)?.sequence === sequence)
    const isAnother = before !== undefined && message_id !== null && before.message_id !== message_id
    return isAnother ? [before, ...later] : later
  }
  const askAll = async (uuids: readonly string[], isOnlyUnknown: boolean) => {
    const known = await followed.positions.read(uuids)
    const wanted = isOnlyUnknown ? uuids.filter((uuid) => !known.has(uuid)) : uuids
    if (wanted.length === 0) return
    const last = await lastTold(wanted)
    const isAllThere = (uuid: string) =>
      last !== undefined && isUpTo(known.get(uuid) ?? BEGINNING, last.get(uuid) ?? BEGINNING)
    const behind = wanted.filter((uuid) => !isAllThere(uuid))
    for (let next = 0; next < behind.length; next += AT_A_TIME) {
      const some = behind.slice(next, next + AT_A_TIME)
      // Some may have come by the queue meanwhile.
      const now = await followed.positions.read(some)
      const told = await Promise.all(some.map((uuid) => ask(uuid, now.get(uuid) ?? BEGINNING)))
      if (told.some((notifications) => notifications.length > 0)) await handle(told.flat())
    }
  }
  for await (const uuids of followed.notEnded()) await askAll(uuids, false)
  for await (const uuids of living()) await askAll(uuids, true)
}

/** Nothing was told after what is known, nor another in its place, as far as that can be seen; or nothing at all. */
function isUpTo(known: Position, last: Position): boolean {
  if (known.sequence !== last.sequence) return last.sequence === 0
  return known.message_id === null || last.message_id === null || known.message_id === last.message_id
}
