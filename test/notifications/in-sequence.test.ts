import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { FilePositions } from '../../src/notifications/file-positions.ts'
import { HandlingFailed, InSequence } from '../../src/notifications/in-sequence.ts'
import type { Position, Positions } from '../../src/notifications/positions.ts'
import type { CountedBack, Gap } from '../../src/notifications/replay.ts'
import { sequenced } from '../../src/notifications/sequenced.ts'
import { randomFrom } from '../soak/random.ts'

const A = 'aaaaaaaa-0000-4000-8000-000000000001'
const B = 'bbbbbbbb-0000-4000-8000-000000000001'

interface Told {
  readonly message_id: string
  readonly event_type: string
  readonly payload: unknown
}

function told(uuid: string, sequence: number, message_id = `${uuid[0]}${sequence}`): Told {
  const payload = { 'nova_object.data': { uuid }, sevbus: { sequence } }
  return { message_id, event_type: 'instance.create.end', payload }
}

class MemoryPositions implements Positions {
  readonly known = new Map<string, Position>()
  writes = 0

  async read(instances: readonly string[]) {
    return new Map([...this.known].filter(([uuid]) => instances.includes(uuid)))
  }

  async write(positions: ReadonlyMap<string, Position>) {
    this.writes += 1
    for (const [uuid, position] of positions) this.known.set(uuid, position)
  }

  reached(uuid: string): number | undefined {
    return this.known.get(uuid)?.sequence
  }
}

/** A conductor that keeps what it has told, up to a number, but for what it has forgotten. */
function aConsumer(
  forgotten: readonly string[] = [],
  positions = new MemoryPositions(),
  counted = 12,
  id?: (n: number) => string,
) {
  const handled: string[] = []
  const countedBack: CountedBack[] = []
  const asked: Gap[] = []
  const lost: Gap[] = []
  const sequence = new InSequence<Told>({
    positions,
    replay: async (gap) => {
      asked.push(gap)
      const all = Array.from({ length: counted }, (_, n) => told(gap.instance_uuid, n + 1, id?.(n + 1)))
      const span = all.slice(gap.from - 1, gap.to)
      return {
        notifications: span.filter(({ message_id }) => !forgotten.includes(message_id)),
        last_sequence: counted,
      }
    },
    onLost: async (gap) => void lost.push(gap),
    onCountedBack: async (told) => void countedBack.push(told),
  })
  const take = (...batch: Told[]) =>
    sequence.handle(batch, async (ordered) => void handled.push(...ordered.map(({ message_id }) => message_id)))
  return { positions, handled, asked, lost, countedBack, sequence, take }
}

describe('notifications in sequence', () => {
  it('are handed on in their order, each once, however they come', async () => {
    const { handled, asked, take } = aConsumer()

    await take(told(A, 1), told(B, 1))
    await take(told(A, 1), told(A, 3), told(A, 2), told(B, 2))
    await take(told(A, 2), told(A, 4))

    expect(handled).toEqual(['a1', 'b1', 'a2', 'a3', 'b2', 'a4'])
    expect(asked).toEqual([])
  })

  it('asks for what is missing before it hands on what comes after, and drops it when it comes late', async () => {
    const { handled, asked, take, positions } = aConsumer()

    await take(told(A, 4))
    await take(told(A, 2))
    await take(told(A, 7), told(A, 9))

    expect(asked).toEqual([
      { instance_uuid: A, from: 1, to: 3 },
      // With the one before, to see that its number is still its own.
      { instance_uuid: A, from: 4, to: 6 },
      { instance_uuid: A, from: 7, to: 8 },
    ])
    expect(handled).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'a6', 'a7', 'a8', 'a9'])
    expect([...positions.known]).toEqual([[A, { sequence: 9, message_id: 'a9' }]])
  })

  it('tells what nobody has any more, and goes on after it', async () => {
    const { handled, lost, take } = aConsumer(['a1', 'a2', 'a4', 'a5'])

    await take(told(A, 6))

    expect(lost).toEqual([
      { instance_uuid: A, from: 1, to: 2 },
      { instance_uuid: A, from: 4, to: 5 },
    ])
    expect(handled).toEqual(['a3', 'a6'])
  })

  it('notes nothing when the handler fails, gives back, or what is missing cannot be asked for', async () => {
    const { positions, sequence } = aConsumer()
    const unreachable = new InSequence<Told>({ positions, replay: () => Promise.reject(new Error('no conductor')) })

    await expect(sequence.handle([told(A, 1)], () => Promise.reject(new Error('disk full')))).rejects.toThrow(
      'disk full',
    )
    await sequence.handle([told(A, 1)], async () => false)
    await expect(unreachable.handle([told(A, 2)], async () => {})).rejects.toThrow('no conductor')

    expect(positions.writes).toBe(0)
  })

  it('lets pass what has no number: notifications of services, and Nova’s', async () => {
    const { handled, take, positions } = aConsumer()
    const event_type = 'instance.create.end'
    const nova = { message_id: 'nova', event_type, payload: { 'nova_object.data': { uuid: A } } }

    await take(
      { message_id: 'text', event_type, payload: 'anything' },
      nova,
      { message_id: 'none', event_type, payload: null },
      nova,
    )

    expect(handled).toEqual(['text', 'nova', 'none', 'nova'])
    expect(positions.writes).toBe(0)
  })

  it('are told apart by more than their id, which a sender may give to two instances, or events', async () => {
    const { handled, take } = aConsumer([], new MemoryPositions(), 12, () => 'one')
    const other = { ...told(A, 1, 'one'), event_type: 'instance.delete.end' }

    await take(told(A, 1, 'one'), told(B, 1, 'one'))
    await take(told(A, 1, 'one'), told(B, 1, 'one'), other)

    expect(handled).toEqual(['one', 'one', 'one'])
  })

  it('come complete and in order after any loss, repeat and crash', async () => {
    for (let seed = 1; seed <= 50; seed++) {
      const random = randomFrom(seed)
      const pick = (below: number) => Math.floor(random() * below)
      const { handled, sequence } = aConsumer()
      const all = [A, B].flatMap((uuid) => Array.from({ length: 12 }, (_, n) => told(uuid, n + 1)))
      const sent = all.filter((_, n) => n % 12 === 11 || random() < 0.7)
      const arriving = [...sent, ...sent.filter(() => random() < 0.3)].toSorted(() => random() - 0.5)
      const queue = [...arriving]
      while (queue.length > 0) {
        const batch = queue.splice(0, 1 + pick(4))
        const dies = random() < 0.2
        await sequence
          .handle(batch, async (ordered) => {
            handled.push(...ordered.map(({ message_id }) => message_id))
            if (dies) throw new Error('killed before it was noted')
          })
          .catch(() => queue.unshift(...batch))
      }

      const last = { a: 0, b: 0 }
      for (const id of handled) {
        const uuid = id[0] as 'a' | 'b'
        const number = Number(id.slice(1))
        // At most the one that follows; what comes again does so from some earlier one on.
        expect(number, `seed ${seed}`).toBeLessThanOrEqual(last[uuid] + 1)
        last[uuid] = number
      }
      expect([seed, last]).toEqual([seed, { a: 12, b: 12 }])
    }
  })
})

describe('numbers that are given twice, after a database was restored', () => {
  it('drop nothing: what has another id is another one, though the conductors have caught up', async () => {
    const { handled, countedBack, positions, take } = aConsumer()
    await take(told(A, 9))

    await take(told(A, 4), told(A, 8, 'stop'), told(A, 9, 'delete'))
    await take(told(A, 9, 'delete'), told(A, 10))

    expect(handled.slice(9)).toEqual(['stop', 'delete', 'a10'])
    expect(countedBack).toEqual([])
    expect(positions.reached(A)).toBe(10)
  })

  it('set the position back to the count, with a word, and what is missing since is asked for', async () => {
    const before = aConsumer()
    await before.take(told(A, 9))
    // Restarted: the ids of before are forgotten. The conductors have counted 1 to 3, and then 4 to 6 once more.
    const { handled, countedBack, lost, positions, take } = aConsumer(['a1', 'a2'], before.positions, 6)

    await take(told(A, 6))
    expect(positions.reached(A)).toBe(6)
    await take(told(A, 4), told(A, 6), told(A, 7))

    expect(handled).toEqual(['a3', 'a4', 'a5', 'a6', 'a7'])
    expect(countedBack).toEqual([{ instance_uuid: A, reached: 9, last_sequence: 6 }])
    expect(lost).toEqual([])
    expect(positions.reached(A)).toBe(7)
  })

  it('are told of where the conductors have counted further than before: late, in a gap, or as high as the last', async () => {
    // What they have told since is z4, z5, …: of which this one has heard nothing.
    const restored = async (take: (consumer: ReturnType<typeof aConsumer>) => Promise<void>) => {
      const before = aConsumer()
      await before.take(...[1, 2, 3, 4, 5, 6].map((n) => told(A, n)))
      const since = aConsumer([], before.positions, 9, (n) => (n < 4 ? `a${n}` : `z${n}`))
      await take(since)
      return [
        since.handled.filter((id) => id.startsWith('z')),
        since.countedBack,
        since.lost,
        since.positions.known.get(A),
      ]
    }
    const counted = [{ instance_uuid: A, reached: 6, last_sequence: 9 }]
    const z = (n: number) => told(A, n, `z${n}`)

    expect(await restored(({ take }) => take(z(4)))).toEqual([['z4'], counted, [], { sequence: 4, message_id: 'z4' }])
    expect(await restored(({ take }) => take(z(6)))).toEqual([
      ...[['z4', 'z5', 'z6'], counted, [], { sequence: 6, message_id: 'z6' }],
    ])
    expect(await restored(({ take }) => take(z(8)))).toEqual([
      ...[['z4', 'z5', 'z6', 'z7', 'z8'], [{ ...counted[0], reached: 8 }], [], { sequence: 8, message_id: 'z8' }],
    ])
    // Late is not told of.
    expect(await restored(({ take }) => take(z(4), told(A, 2)).then(() => take(z(5), told(A, 1))))).toEqual([
      ...[['z4', 'z5'], counted, [], { sequence: 5, message_id: 'z5' }],
    ])
  })

  it('are told of one that is in a gap, too, of an instance that the conductors know no more', async () => {
    const before = aConsumer()
    await before.take(told(A, 9))
    const { handled, countedBack, lost, positions, take } = aConsumer([], before.positions, 0)

    await take(told(A, 11))
    await take(told(A, 1))

    expect([handled, lost]).toEqual([['a11', 'a1'], []])
    expect(countedBack).toEqual([{ instance_uuid: A, reached: 11, last_sequence: 0 }])
    expect(positions.reached(A)).toBe(1)
  })
})

describe('numbers that nobody gave', () => {
  it('move the position no further than the conductors have counted, however high they are', async () => {
    const { handled, asked, countedBack, lost, positions, take } = aConsumer([], new MemoryPositions(), 5)

    await take(told(A, 2_147_483_600, 'forged'), told(A, 3))
    await take(told(A, 5))
    await take(told(A, 6))

    expect(handled).toEqual(['a1', 'a2', 'a3', 'a4', 'a5', 'forged', 'a6'])
    expect(asked).toEqual([
      { instance_uuid: A, from: 1, to: 2 },
      { instance_uuid: A, from: 3, to: 2_147_483_599 },
    ])
    expect(countedBack).toEqual([{ instance_uuid: A, reached: 2_147_483_600, last_sequence: 5 }])
    expect([lost, positions.reached(A)]).toEqual([[], 6])
  })

  it('below a number that comes later do not drop that one', async () => {
    const { handled, take } = aConsumer()

    await take(told(A, 1), told(A, 2, 'forged'))
    await take(told(A, 2))

    expect(handled).toEqual(['a1', 'forged', 'a2'])
  })

  it.each([
    ['no instance', told('not-a-uuid', 5)],
    ['0', told(A, 0)],
    ['a half', told(A, 1.5)],
    ['more than PostgreSQL counts', told(A, 2 ** 31)],
    ['a text', told(A, '5' as never)],
    ['null', told(A, null as never)],
  ])('are refused: %s', async (_, notification) => {
    const { handled, asked, take } = aConsumer()

    await expect(take(notification)).rejects.toMatchObject({ code: 'INVALID_MESSAGE' })

    expect([handled, asked]).toEqual([[], []])
  })
})

describe('one of a gap that cannot be handled', () => {
  it('is named, after those before it were handled for good, and those after it go on without it', async () => {
    const { handled, positions, sequence } = aConsumer()
    const handle = async ({ message_id }: Told) => {
      if (message_id === 'a3') throw new Error('no such project')
      handled.push(message_id)
    }
    const failing = () => sequence.handleEach([told(A, 5)], handle).catch((error: unknown) => error)

    await failing()
    const failed = (await failing()) as HandlingFailed<Told>
    const before = positions.reached(A)
    await failed.leaveOut()
    await sequence.handleEach([told(A, 5)], handle)

    expect(failed).toBeInstanceOf(HandlingFailed)
    expect([failed.message, failed.notification]).toEqual(['no such project', told(A, 3)])
    expect([before, positions.reached(A)]).toEqual([2, 5])
    expect(handled).toEqual(['a1', 'a2', 'a4', 'a5'])
  })

  it('is handled when it is sent again', async () => {
    const { handled, sequence, take } = aConsumer()
    const failed = await sequence
      .handleEach([told(A, 1)], () => Promise.reject(new Error('no such project')))
      .catch((error: HandlingFailed<Told>) => error)
    await failed?.leaveOut()
    await take(told(A, 2))

    await take(told(A, 1))

    expect(handled).toEqual(['a2', 'a1'])
  })
})

describe('the handler of a consumer in sequence', () => {
  it('is given one at a time, or batches, as it is written', async () => {
    const one: string[] = []
    const many: string[][] = []
    const offer = { requeue() {} }
    const notification = (sequence: number) => ({ ...ENVELOPE, ...told(A, sequence) })
    const first = sequenced(
      { payload: 'any', onNotification: async ({ message_id }) => void one.push(message_id as string) },
      aConsumer().sequence as never,
    )
    const second = sequenced(
      { payload: 'any', onBatch: async (batch) => void many.push(batch.map(({ message_id }) => message_id as string)) },
      aConsumer().sequence as never,
    )

    await first.onNotification?.(notification(2) as never, offer)
    await second.onBatch?.([notification(3), notification(1)] as never, offer)

    expect(one).toEqual(['a1', 'a2'])
    expect(many).toEqual([['a1', 'a2', 'a3']])
  })

  it('that gives one back is given it again', async () => {
    const { positions, sequence } = aConsumer()
    let isGivenBack = false
    const handling = sequenced(
      { payload: 'any', onNotification: async (_, offer) => offer.requeue() },
      sequence as never,
    )

    await handling.onNotification?.({ ...ENVELOPE, ...told(A, 1) } as never, {
      requeue() {
        isGivenBack = true
      },
    })

    expect([isGivenBack, positions.writes]).toEqual([true, 0])
  })
})

const ENVELOPE = { event_type: 'instance.create.end', priority: 'INFO', publisher_id: 'nova-compute:h1', timestamp: '' }

describe('positions in a file', () => {
  const aFile = async () => join(await mkdtemp(join(tmpdir(), 'sevbus-positions-')), 'positions')
  const at = (sequence: number) => ({ sequence, message_id: `m-${sequence}` })

  it('outlast the process, and a line that it could not finish', async () => {
    const path = await aFile()
    const before = await FilePositions.open(path)
    await before.write(new Map([[A, at(1)]]))
    await before.write(new Map([...[[A, at(2)] as const], [B, at(5)]]))
    await before[Symbol.asyncDispose]()
    await writeFile(path, `${await readFile(path, 'utf8')}{"${A}":`)

    await using after = await FilePositions.open(path)

    expect([...(await after.read([A, B, 'unknown']))]).toEqual([
      [A, at(2)],
      [B, at(5)],
    ])
    expect(await readFile(path, 'utf8')).toBe(`${JSON.stringify({ [A]: at(2), [B]: at(5) })}\n`)
  })

  it('of a release that wrote numbers alone are read', async () => {
    const path = await aFile()
    await writeFile(path, `{"${A}":2,"${B}":5}\n`)

    await using positions = await FilePositions.open(path)

    expect(await positions.read([A])).toEqual(new Map([[A, { sequence: 2, message_id: null }]]))
  })

  it('that are none are refused by line', async () => {
    const path = await aFile()
    await writeFile(path, `{"${A}":2}\nnothing\n`)

    await expect(FilePositions.open(path)).rejects.toMatchObject({ code: 'INVALID_FILE', details: { line: 2 } })
  })

  it('are written anew when many lines say the same', async () => {
    const path = await aFile()
    await using positions = await FilePositions.open(path, 3)

    for (const n of [1, 2, 3, 4]) await positions.write(new Map([[A, at(n)]]))

    const line = (n: number) => `${JSON.stringify({ [A]: at(n) })}\n`
    expect(await readFile(path, 'utf8')).toBe(line(3) + line(4))
  })
})
