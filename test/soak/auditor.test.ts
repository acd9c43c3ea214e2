import { describe, expect, it } from 'vitest'
import { audit, type Book, type Evidence } from './auditor.ts'
import type { Entry, Fact, Outcome } from './ledger.ts'

const LIMITS = { slackMs: 1_000, growthBytes: 1_000_000, recoveryMs: 5_000, answeredPart: 0.5 }

describe('the auditor', () => {
  it('finds nothing where everything is as it should be', () => {
    expect(audit(evidence(), LIMITS)).toEqual([])
  })

  it.each<[string, Change, string]>([
    [
      'a call that never ended',
      { sender: [call('c1')] },
      'call c1 of sender-1#1 never ended; its deadline was 2000 ms',
    ],
    [
      'a call that ended twice',
      { sender: [call('c1'), ended('c1', { n: 4 }), ended('c1', { n: 4 })] },
      'call c1 of sender-1#1 ended 2 times',
    ],
    [
      'a call that ended too late',
      { sender: [call('c1'), ended('c1', { code: 'MESSAGING_TIMEOUT' }, 3_100)] },
      'call c1 of sender-1#1 ended 1100 ms after its deadline of 2000 ms',
    ],
    [
      'a cast that ended too late',
      { sender: [cast('p1'), ended('p1', { code: 'MESSAGING_TIMEOUT' }, 9_000)] },
      'cast p1 of sender-1#1 ended 7000 ms after its deadline of 2000 ms',
    ],
    [
      'a wrong answer',
      { sender: [call('c1'), ended('c1', { n: 5 })] },
      'call c1 of sender-1#1 was answered 5 instead of 4',
    ],
    [
      'an answer where a refusal was due',
      { sender: [call('c1', 'refusal'), ended('c1', { n: 4 })] },
      'call c1 of sender-1#1 was answered 4 instead of refusal',
    ],
    [
      'an error without a code',
      { sender: [call('c1'), ended('c1', { untyped: 'TypeError: x' })] },
      'call c1 of sender-1#1 ended with an error that has no code: TypeError: x',
    ],
    [
      'a code that is not published',
      { sender: [call('c1'), ended('c1', { code: 'OOPS' })] },
      'call c1 of sender-1#1 ended with OOPS, which is no published code',
    ],
    [
      'an error of no fault that happened',
      { sender: [call('c1'), ended('c1', { code: 'INTERNAL_ERROR' })] },
      'call c1 of sender-1#1 ended with INTERNAL_ERROR, which no fault explains',
    ],
    [
      'a refusal that nobody asked for',
      { sender: [call('c1'), ended('c1', { code: 'INVALID_PROPERTY' })] },
      'call c1 of sender-1#1 ended with INVALID_PROPERTY, which no fault explains',
    ],
    [
      'an answer that no server gave',
      { sender: [call('c9'), ended('c9', { n: 4 })] },
      'call c9 of sender-1#1 was answered, and no server has run it',
    ],
    ['a call that ran twice', { server: [ran('c0')] }, 'call c0 ran 2 times: server-1#1, server-1#1'],
    ['a stored order that never ran', { facts: [order('o9')] }, 'order o9 was sent, and no server has run it'],
    ['a stored order without effect', { facts: [order('o9')], server: [ran('o9')] }, 'order o9 ran, and has no effect'],
    ['an effect that is there twice', { effects: ['o1'] }, 'order o1 has its effect 2 times'],
    ['an effect that nobody asked for', { effects: ['o9'] }, 'order o9 has an effect, and nobody gave it'],
    [
      'a cast that the broker confirmed and nobody ran',
      { sender: [cast('p1'), ended('p1', { n: 0 })] },
      'order p1 was sent, and no server has run it',
    ],
    [
      'a commit that is not in the database',
      { sender: [{ type: 'stored', ids: ['o9'] }] },
      'message o9 was committed, and is not in the database',
    ],
    ['a notification that did not arrive', { facts: [notification('n9', 'm9')] }, 'notification n9 has not arrived'],
    [
      'a notification that nobody sent',
      { listener: [notified('n9', 'm9')] },
      'notification n9 arrived, and nobody sent it',
    ],
    [
      'a notification under another id',
      { listener: [notified('n1', 'm2')] },
      'notification n1 arrived as m2, and was stored as m1',
    ],
    ['memory that grows', { server: growing(300_000) }, 'the memory of server-1#1 grew by 1.1 MB over 400 messages'],
    ['a process that did not end in order', { without: 'finished' }, 'server-1#1 did not end in order'],
    ['a process that died', { troubles: ['server-1#1 ended with 1: boom'] }, 'server-1#1 ended with 1: boom'],
    ['a run that got stuck', { stuck: ['nothing has gone well'] }, 'nothing has gone well'],
    ['messages that are left', { left: { 'dead-letters': 2 } }, '2 messages are left in dead-letters'],
  ])('finds %s', (_, change, violation) => {
    expect(audit(evidence(change), LIMITS)).toEqual([violation])
  })

  it('finds that too little was answered to prove anything', () => {
    const sender = ['c1', 'c2'].flatMap((id) => [call(id), ended(id, { code: 'MESSAGING_TIMEOUT' })])

    expect(audit(evidence({ sender }), LIMITS)).toEqual(['only 1 of 3 calls were answered'])
  })

  it('forgives what ended with a process that was killed, but not what hung before', () => {
    const sender: Entry[] = [at(0, call('late')), at(9_500, call('lost')), at(9_900, cast('perhaps'))]
    const killed = { process: 'sender-2#1', entries: sender, troubles: [], killedAt: 10_000 }
    const { books, ...rest } = evidence()

    expect(audit({ ...rest, books: [...books, killed] }, { ...LIMITS, answeredPart: 0.2 })).toEqual([
      'call late of sender-2#1 never ended; its deadline was 2000 ms',
    ])
  })

  it('forgives what is late by no more than its process was not let run after the deadline', () => {
    const sender: Entry[] = [
      ...[at(0, call('c1')), at(2_500, { type: 'stalled', ms: 2_400 } as const)],
      ...[
        at(5_000, { type: 'stalled', ms: 2_000 } as const),
        at(5_400, ended('c1', { code: 'MESSAGING_TIMEOUT' }, 5_400)),
      ],
    ]
    const { books, ...rest } = evidence()
    const found = (slackMs: number) =>
      audit(
        {
          ...rest,
          books: [
            ...books,
            { process: 'sender-2#1', entries: [...sender, at(6_000, { type: 'finished' })], troubles: [] },
          ],
        },
        { ...LIMITS, slackMs },
      )

    // Late by 3400 ms, and of those stalled for 500 and 2000.
    expect(found(900)).toEqual([])
    expect(found(899)).toEqual(['call c1 of sender-2#1 ended 3400 ms after its deadline of 2000 ms'])
  })

  it('finds that somebody has not come back after the last fault', () => {
    const late = { code: 'MESSAGING_TIMEOUT' }
    const patient: Fact = { type: 'cast', id: 'p1', timeoutMs: 5_000 }
    const sender = [
      ...[at(24_000, call('c1')), at(26_000, ended('c1', late)), at(26_000, patient), at(32_000, ended('p1', late))],
      ...[at(26_000, call('c2', 'refusal')), at(26_000, ended('c2', { code: 'INVALID_PROPERTY' }))],
    ]
    const { books, ...rest } = evidence()
    const added: Book = { process: 'sender-2#1', entries: [...sender, at(0, { type: 'finished' })], troubles: [] }
    const servers: Book = book('server-2#1', [ran('c2'), { type: 'finished' }])

    expect(audit({ ...rest, books: [...books, added, servers] }, LIMITS)).toEqual([
      'cast p1 of sender-2#1, begun 6000 ms after the last fault, ended with MESSAGING_TIMEOUT',
    ])
  })

  it('takes a cast that failed for one that may have been done, once', () => {
    const sender = [cast('p1'), ended('p1', { code: 'TRANSPORT_UNAVAILABLE' })]

    expect(audit(evidence({ sender }), LIMITS)).toEqual([])
    expect(audit(evidence({ sender, server: [ran('p1')], effects: ['p1'] }), LIMITS)).toEqual([])
  })

  it('tells five of a kind, and how many more there are', () => {
    const facts = Array.from({ length: 8 }, (_, index) => notification(`x${index}`, 'm'))

    expect(audit(evidence({ facts }), LIMITS)).toEqual([
      ...[0, 1, 2, 3, 4].map((index) => `notification x${index} has not arrived`),
      '… and 3 more like these',
    ])
  })
})

/** What is added to a run in which all went well. */
interface Change {
  readonly sender?: readonly Fact[]
  readonly server?: readonly Fact[]
  readonly listener?: readonly Fact[]
  readonly facts?: Evidence['facts']
  readonly effects?: readonly string[]
  readonly troubles?: readonly string[]
  readonly left?: Evidence['left']
  readonly stuck?: readonly string[]
  /** Facts of this type are missing at the server. */
  readonly without?: Fact['type']
}

/** One call answered, one order and one notification stored and done. */
function evidence(change: Change = {}): Evidence {
  const {
    sender = [],
    server = [],
    listener = [],
    facts = [],
    effects = [],
    troubles = [],
    left = {},
    stuck = [],
  } = change
  const finished: Fact[] = [{ type: 'finished' }]
  const serverFacts = [ran('c0'), ran('c1'), ran('o1'), ...server, ...finished]
  return {
    books: [
      book('sender-1#1', [
        call('c0'),
        ended('c0', { n: 4 }),
        { type: 'stored', ids: ['o1', 'n1'] },
        ...sender,
        ...finished,
      ]),
      {
        ...book(
          'server-1#1',
          serverFacts.filter(({ type }) => type !== change.without),
        ),
        troubles,
      },
      book('listener-1#1', [notified('n1', 'm1'), notified('n1', 'm1'), ...listener, ...finished]),
    ],
    facts: [order('o1'), notification('n1', 'm1'), ...facts],
    effects: ['o1', ...effects],
    left: { outbox: 0, ...left },
    quietSince: 20_000,
    troubles: stuck,
  }
}

function book(process: string, facts: readonly Fact[]): Book {
  return { process, entries: facts.map((fact) => at(0, fact)), troubles: [] }
}

function at(ms: number, fact: Fact): Entry {
  return { ...fact, at: ms }
}

function call(id: string, answer: number | 'refusal' = 4): Fact {
  return { type: 'call', id, timeoutMs: 2_000, answer }
}

function cast(id: string): Fact {
  return { type: 'cast', id, timeoutMs: 2_000 }
}

function ended(id: string, outcome: Outcome, tookMs = 10): Fact {
  return { type: 'ended', id, tookMs, outcome }
}

function ran(id: string): Fact {
  return { type: 'ran', id }
}

function notified(id: string, messageId: string): Fact {
  return { type: 'notified', id, messageId }
}

function order(id: string): Evidence['facts'][number] {
  return { id, kind: 'order', messageId: null }
}

function notification(id: string, messageId: string): Evidence['facts'][number] {
  return { id, kind: 'notification', messageId }
}

function growing(bytesEach: number): readonly Fact[] {
  return Array.from({ length: 8 }, (_, index) => ({
    type: 'memory',
    bytes: 50_000_000 + index * bytesEach,
    messages: index * 100,
  }))
}
