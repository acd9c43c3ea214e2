import { randomUUID } from 'node:crypto'
import { appendFile, mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Journal, queued } from '../../../src/compute/journal/journal.ts'
import { LineFile } from '../../../src/compute/journal/line-file.ts'
import type { JournalRecord } from '../../../src/compute/journal/records.ts'
import { JournalState } from '../../../src/compute/journal/state.ts'
import type { DurableMessage } from '../../../src/rpc/durable-message.ts'
import { aFolder } from '../support/folders.ts'
import { anInstance } from '../support/instances.ts'

const context = { request_id: 'req-1', user_id: 'u-1', project_id: 'p-1', is_admin: true }
const withCode = (code: string) => expect.objectContaining({ code })

function aMessage(orderingKey: string, body: string): DurableMessage {
  return { to: { kind: 'topic', exchange: 'sevbus', topic: 'sevbus-conductor' }, body, mandatory: true, orderingKey }
}

function begun(uuid: string, attempt = 1): JournalRecord {
  return { type: 'build_begun', instance: anInstance({ uuid, attempt }), context, interruptions: 0 }
}

/** What a journal holds, to compare two. */
function contentOf(journal: Journal, uuids: readonly string[]) {
  return {
    builds: journal.builds(),
    terminations: journal.terminations(),
    known: uuids.map((uuid) => journal.known(uuid)),
  }
}

async function reopened(folder: string): Promise<Journal> {
  return Journal.open({ folder, host: 'node1' })
}

async function bodies(journal: Journal): Promise<readonly string[]> {
  const all: string[] = []
  for (;;) {
    const batch = await journal.take(100)
    if (batch.length === 0) return all
    all.push(...batch.map(({ body }) => body))
    await journal.sent(batch.map(({ id }) => id))
  }
}

describe('the journal', () => {
  it('knows after a restart what was begun, with the request that began it', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    const [built, building, leaving] = [randomUUID(), randomUUID(), randomUUID()]
    const instance = anInstance({ uuid: leaving })
    await journal.append([begun(built)])
    await journal.append([{ type: 'build_ended', uuid: built, attempt: 1, outcome: 'active' }])
    await journal.append([begun(building, 2)])
    await journal.append([{ type: 'terminate_begun', instance, context, void: true }])
    await journal.close()

    const again = await reopened(folder)

    expect(contentOf(again, [built, building, leaving])).toEqual({
      builds: [{ instance: anInstance({ uuid: building, attempt: 2 }), context, interruptions: 0, handedBack: false }],
      terminations: [{ instance, context, void: true }],
      known: [{ attempt: 1, outcome: 'active' }, { attempt: 2 }, { attempt: 1 }],
    })
    await again.close()
  })

  it('counts resumptions, except those after an orderly end', async () => {
    const folder = await aFolder()
    const uuid = randomUUID()
    const journal = await reopened(folder)
    await journal.append([begun(uuid), { type: 'build_resumed', uuid, attempt: 1 }])
    await journal.append([{ type: 'build_handed_back', uuid, attempt: 1 }])
    await journal.append([{ type: 'build_resumed', uuid, attempt: 1 }])
    await journal.append([{ type: 'build_resumed', uuid, attempt: 1 }])
    await journal.close()

    const again = await reopened(folder)

    expect(again.build(uuid)).toMatchObject({ interruptions: 2, handedBack: false })
    await again.close()
  })

  it('tells how many messages wait, and for how long the first, after a start, too', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    const empty = await journal.backlog()
    const first = queued([aMessage('a', 'a1')])
    const anHourAgo = Date.now() - 3_600_000
    await journal.append([
      {
        type: 'queued',
        messages: first.type === 'queued' ? first.messages.map((m) => ({ ...m, storedAtMs: anHourAgo })) : [],
      },
      queued([aMessage('b', 'b1')]),
    ])
    await journal.close()

    const again = await reopened(folder)
    const { messages, oldestAgeSeconds } = await again.backlog()

    expect(empty).toEqual({ messages: 0, oldestAgeSeconds: undefined })
    expect([messages, Math.floor((oldestAgeSeconds ?? 0) / 60)]).toEqual([2, 60])
    await again.close()
  })

  it('gives messages in the order of their key, one of each key at a time', async () => {
    const journal = await reopened(await aFolder())
    await journal.append([queued([aMessage('a', 'a1'), aMessage('b', 'b1'), aMessage('a', 'a2')])])
    await journal.append([queued([aMessage('a', 'a3')])])

    const first = await journal.take(10)
    expect(first.map(({ body }) => body)).toEqual(['a1', 'b1'])
    expect(await journal.take(10)).toEqual([])

    await journal.postpone(first[0]?.id ?? '', 3_600_000)
    await journal.sent([first[1]?.id ?? ''])
    expect(await journal.take(10)).toEqual([])

    await journal.postpone(first[0]?.id ?? '', 0)
    expect(await bodies(journal)).toEqual(['a1', 'a2', 'a3'])
    await journal.close()
  })

  it('counts how often a message could not be sent', async () => {
    const journal = await reopened(await aFolder())
    await journal.append([queued([aMessage('a', 'a1'), aMessage('b', 'b1')])])
    const [first] = await journal.take(1)

    await journal.postpone(first?.id ?? '', 0)

    const taken = await journal.take(10)
    expect(taken.map(({ body, failures }) => [body, failures])).toEqual([
      ['a1', 1],
      ['b1', 0],
    ])
    await journal.close()
  })

  it('keeps messages that were not sent, with their ids, over a restart', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    await journal.append([queued([aMessage('a', 'a1'), aMessage('a', 'a2')])])
    const [first] = await journal.take(1)
    await journal.close()

    const again = await reopened(folder)

    expect(await again.take(10)).toEqual([first])
    await again.close()
  })

  it('is of one process, and of one host', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    await expect(reopened(folder)).rejects.toThrow(withCode('ALREADY_IN_USE'))
    await journal.close()

    await expect(Journal.open({ folder, host: 'node2' })).rejects.toThrow(/journal of host node1, not of node2/)
    await (await reopened(folder)).close()
  })

  it('writes itself anew at the start, without what is over', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    const uuid = randomUUID()
    await journal.append([begun(uuid), queued([aMessage('a', 'x'.repeat(10_000))])])
    await journal.append([{ type: 'build_ended', uuid, attempt: 1, outcome: 'active' }])
    await bodies(journal)
    await journal.close()

    await (await reopened(folder)).close()

    expect(await readFile(join(folder, 'journal.jsonl'), 'utf8')).toBe(
      `{"sevbus_journal":1,"host":"node1"}\n[{"type":"attempt_known","uuid":"${uuid}","attempt":1,"outcome":"active"}]\n`,
    )
  })

  it('shrinks while it runs, when most of it is over', async () => {
    const folder = await aFolder()
    const journal = await reopened(folder)
    await journal.append([queued([aMessage('kept', 'kept')])])
    for (let n = 0; n < 6; n++) {
      const message = queued([aMessage(`k${n}`, 'x'.repeat(1024 * 1024))])
      await journal.append([message])
      if (message.type === 'queued') await journal.sent(message.messages.map(({ id }) => id))
    }
    const { size } = await stat(join(folder, 'journal.jsonl'))
    await journal.close()

    const again = await reopened(folder)
    expect(size).toBeLessThan(5 * 1024 * 1024)
    expect(await bodies(again)).toEqual(['kept'])
    await again.close()
  })
})

describe('a journal after a crash', () => {
  it('is, wherever it is cut, what it was after one of its appends', async () => {
    const folder = await aFolder()
    const uuid = randomUUID()
    const appends: JournalRecord[][] = [
      [begun(uuid), queued([aMessage(uuid, 'create.start')])],
      [
        { type: 'build_ended', uuid, attempt: 1, outcome: 'active' },
        queued([aMessage(uuid, 'report'), aMessage(uuid, 'create.end')]),
      ],
      [{ type: 'terminate_begun', instance: anInstance({ uuid }), context, void: false }],
      [{ type: 'terminate_ended', uuid, attempt: 1, at: '2026-01-01T00:00:00.000Z', void: false }],
    ]
    const path = join(folder, 'journal.jsonl')
    const journal = await reopened(folder)
    const boundaries = [(await stat(path)).size]
    for (const records of appends) {
      await journal.append(records)
      boundaries.push((await stat(path)).size)
    }
    await journal.close()
    const whole = await readFile(path)
    const states = [0, 1, 2, 3, 4].map((count) => stateAfter(appends.slice(0, count)))

    const copy = await aFolder()
    const around = boundaries.flatMap((boundary) => [boundary - 1, boundary, boundary + 1])
    const between = Array.from({ length: Math.floor(whole.length / 97) }, (_, n) => n * 97)
    const cuts = [...around, ...between].filter((cut) => cut >= (boundaries[0] as number) && cut <= whole.length)
    for (const length of cuts) {
      await writeFile(join(copy, 'journal.jsonl'), whole.subarray(0, length))
      const complete = boundaries.filter((boundary) => boundary <= length).length - 1
      const again = await reopened(copy)
      expect([contentOf(again, [uuid]), await bodies(again)]).toEqual(states[complete])
      await again.close()
    }
  })

  it('forgets a last line of noise, and refuses noise in its middle', async () => {
    const folder = await aFolder()
    const path = join(folder, 'journal.jsonl')
    const journal = await reopened(folder)
    await journal.append([begun(randomUUID())])
    await journal.close()
    await appendFile(path, '\0\0\0\0\n')

    const again = await reopened(folder)
    expect(again.builds()).toHaveLength(1)
    await again.close()

    await appendFile(path, 'noise\n[]\n')
    await expect(reopened(folder)).rejects.toThrow(/cannot be read at line 4/)
  })

  it('refuses a record of a later release, instead of dropping a promise', async () => {
    const folder = await aFolder()
    await (await reopened(folder)).close()
    await appendFile(join(folder, 'journal.jsonl'), '[{"type":"promise_of_tomorrow"}]\n')

    await expect(reopened(folder)).rejects.toThrow(withCode('INVALID_FILE'))
  })

  it('starts empty when not even its first line was written', async () => {
    const folder = await aFolder()
    await mkdir(folder, { recursive: true })
    await writeFile(join(folder, 'journal.jsonl'), '{"sevbus_jour')

    const journal = await reopened(folder)
    expect(journal.builds()).toEqual([])
    await journal.close()
    await truncate(join(folder, 'journal.jsonl'), 0)
    await (await reopened(folder)).close()
  })
})

function stateAfter(appends: readonly JournalRecord[][]) {
  const state = new JournalState()
  for (const record of appends.flat()) state.apply(record)
  return [
    {
      builds: [...state.builds.values()],
      terminations: [...state.terminations.values()],
      known: [[...state.tries.values()][0]],
    },
    [...state.messages.values()].map(({ body }) => body),
  ]
}

describe('the state of a journal', () => {
  const uuid = randomUUID()
  const attempt = fc.integer({ min: 1, max: 3 })
  const record: fc.Arbitrary<JournalRecord> = fc.oneof(
    attempt.map((n) => begun(uuid, n)),
    attempt.map((n) => ({ ...begun(uuid, n), rebuilds: true as const }) as JournalRecord),
    attempt.map((n) => ({ type: 'build_replaces' as const, uuid, attempt: n })),
    attempt.map((n) => ({ type: 'build_resumed' as const, uuid, attempt: n })),
    attempt.map((n) => ({ type: 'build_handed_back' as const, uuid, attempt: n })),
    fc
      .tuple(attempt, fc.constantFrom('active' as const, 'failed' as const, 'unwanted' as const))
      .map(([n, outcome]) => ({
        type: 'build_ended' as const,
        uuid,
        attempt: n,
        outcome,
      })),
    fc.tuple(attempt, fc.boolean()).map(([n, isVoid]) => ({
      type: 'terminate_begun' as const,
      instance: anInstance({ uuid, attempt: n }),
      context,
      void: isVoid,
    })),
    fc.tuple(attempt, fc.boolean()).map(([n, isVoid]) => ({
      type: 'terminate_ended' as const,
      uuid,
      attempt: n,
      at: '2026-01-01T00:00:00.000Z',
      void: isVoid,
    })),
  )

  it('comes back whole from its own snapshot, whatever was recorded', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 12, size: 'max' }), (records) => {
        const state = new JournalState()
        for (const fact of records) state.apply(fact)
        const copy = new JournalState()
        for (const fact of state.snapshot()) copy.apply(fact)

        expect([copy.builds, copy.terminations]).toEqual([state.builds, state.terminations])
        expect(copy.tries.get(uuid)).toEqual(state.tries.get(uuid))
      }),
    )
  })

  it('forgets the oldest tries that left nothing, and never one with a guest', () => {
    const state = new JournalState()
    state.apply({ type: 'attempt_known', uuid: 'guest', attempt: 1, outcome: 'active' })
    for (let n = 0; n < 10_050; n++) {
      state.apply({ type: 'build_ended', uuid: `failed-${n}`, attempt: 1, outcome: 'failed' })
    }

    expect([state.tries.size, state.tries.has('guest'), state.tries.has('failed-0')]).toEqual([10_000, true, false])
  })
})

describe('a file of lines', () => {
  it('flushes a hundred concurrent appends together, and resolves each when it is on disk', async () => {
    const path = join(await aFolder(), 'lines')
    let flushes = 0
    const shrink = () => {
      flushes++
      return undefined
    }
    const lines = await LineFile.create(path, 'first\n', { shrink, onBroken() {} })

    await Promise.all(Array.from({ length: 100 }, (_, n) => lines.append(`line ${n}`)))

    const written = (await readFile(path, 'utf8')).split('\n')
    expect([written.length, written[1], written[100]]).toEqual([102, 'line 0', 'line 99'])
    expect(flushes).toBeLessThanOrEqual(2)
    await lines.close()
    await lines.close()
  })

  it('takes nothing more after a failed write, for nobody knows what the disk has', async () => {
    const path = join(await aFolder(), 'lines')
    const failure = new Error('disk full')
    const heard: unknown[] = []
    const shrink = () => {
      throw failure
    }
    const lines = await LineFile.create(path, '', { shrink, onBroken: (error) => heard.push(error) })

    const outage = { code: 'SERVICE_STOPPING', isOutage: true, cause: failure }
    await expect(lines.append('one')).rejects.toMatchObject(outage)
    await expect(lines.append('two')).rejects.toMatchObject(outage)
    // Who was here before and comes again is not told that it is on disk.
    await expect(lines.flushed()).rejects.toMatchObject(outage)
    expect(heard).toEqual([failure])
    await lines.close()
  })
})
