import { Ledger } from '../../../src/billing/ledger.ts'
import { recordNotifications } from '../../../src/billing/record-notifications.ts'
import type { Database } from '../../../src/database/database.ts'
import { InSequence } from '../../../src/notifications/in-sequence.ts'
import type { AnyNotification } from '../../../src/notifications/notification.ts'
import type { Position } from '../../../src/notifications/positions.ts'
import type { Gap } from '../../../src/notifications/replay.ts'
import { DAY_MS, type Life } from './life.ts'

export interface Faults {
  readonly random: () => number
  /** Lost for good: it is not sent, and nobody has it any more. */
  readonly isLost?: (notification: AnyNotification) => boolean
}

class Killed extends Error {}

/** Brings what was told of these lives to a biller as a bad network does, and kills it now and then. @returns how often it was killed */
export async function deliver(database: Database, lives: readonly Life[], faults: Faults): Promise<number> {
  const { random, isLost = () => false } = faults
  const kept = new Map(lives.map((life) => [life.uuid, life.told.filter(({ notification }) => !isLost(notification))]))
  const counts = new Map(lives.map((life) => [life.uuid, life.told.length]))
  const replay = async ({ instance_uuid, from, to }: Gap) => ({
    notifications: (kept.get(instance_uuid) ?? [])
      .map(({ notification }) => notification)
      .filter((notification) => from <= numberOf(notification) && numberOf(notification) <= to),
    last_sequence: counts.get(instance_uuid) ?? 0,
  })

  const waiting = inTheirDisorder([...kept.values()], random)
  let kills = 0
  for (let at = 0; at < waiting.length; ) {
    // A new process each time: all that it knows is in the database.
    const ledger = new Ledger(database)
    const mayDie = () => {
      if (random() < 0.1) throw new Killed()
    }
    const { read, write } = ledger.followed.positions
    const positions = {
      read,
      write: async (moved: ReadonlyMap<string, Position>) => {
        // Once at least: stored, and not noted as such.
        if (kills === 0) throw new Killed()
        mayDie()
        await write(moved)
      },
    }
    const sequence = new InSequence<AnyNotification>({
      positions,
      replay,
      onLost: (gap) => ledger.followed.noteLost(gap),
    })
    try {
      while (at < waiting.length) {
        const batch = waiting.slice(at, at + 1 + Math.floor(random() * 200))
        await sequence.handle(batch, async (ordered) => {
          mayDie()
          await recordNotifications(ledger, ordered)
        })
        at += batch.length
      }
    } catch (error) {
      if (!(error instanceof Killed)) throw error
      kills += 1
    }
  }
  return kills
}

/** Some come late, some twice, at once or days after; some not at all, unless they are the last that could show it. */
function inTheirDisorder(all: readonly Life['told'][], random: () => number): readonly AnyNotification[] {
  const sent = all.flatMap((told) =>
    told.flatMap(({ atMs, notification }, n) => {
      const isDropped = n < told.length - 1 && random() < 0.03
      const lateMs = random() < 0.1 ? random() * DAY_MS : 0
      const first = isDropped ? [] : [{ atMs: atMs + lateMs, notification }]
      return random() < 0.05 ? [...first, { atMs: atMs + random() * 5 * DAY_MS, notification }] : first
    }),
  )
  return sent.sort((a, b) => a.atMs - b.atMs).map(({ notification }) => notification)
}

function numberOf({ payload }: AnyNotification): number {
  return (payload as { readonly sevbus: { readonly sequence: number } }).sevbus.sequence
}
