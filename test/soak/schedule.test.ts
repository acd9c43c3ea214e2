import { expect, it } from 'vitest'
import { describeFault, schedule } from './schedule.ts'

const CREW = { senders: ['sender-1', 'sender-2'], servers: ['server-1', 'server-2'], listeners: ['listener-1'] }

it('plans the same for the same seed, and something else for another', () => {
  expect(schedule(7, CREW, 5)).toEqual(schedule(7, CREW, 5))
  expect(schedule(8, CREW, 5)).not.toEqual(schedule(7, CREW, 5))
})

it.each([1, 2, 3, 4, 5])('restarts the broker twice and lets each other thing happen, in order: seed %i', (seed) => {
  const planned = schedule(seed, CREW, 3)

  const kinds = planned.map(({ fault }) => ('signal' in fault ? `${fault.kind} ${fault.signal}` : fault.kind))
  const deleted = planned.flatMap(({ fault }) => (fault.kind === 'delete queue' ? [fault.queue.of] : []))
  const killed = planned.flatMap(({ fault }) => (fault.kind === 'kill' ? [fault.who.split('-')[0]] : []))
  expect(kinds.filter((kind) => kind.startsWith('restart')).toSorted()).toEqual([
    'restart broker SIGKILL',
    'restart broker SIGTERM',
  ])
  expect(new Set(kinds)).toEqual(
    new Set([
      ...['restart broker SIGKILL', 'restart broker SIGTERM', 'kill', 'reset', 'stall', 'slow', 'half-open'],
      'delete queue',
    ]),
  )
  expect(new Set(deleted)).toEqual(new Set(['questions', 'questions to', 'orders to', 'replies to']))
  expect(new Set(killed)).toEqual(new Set(['sender', 'server', 'listener']))
  expect(planned.map(({ at }) => at)).toEqual(planned.map(({ at }) => at).toSorted((a, b) => a - b))
  expect(planned.every(({ at }) => at > 0 && at < 1)).toBe(true)
  expect(kinds.indexOf('delete queue')).toBeGreaterThan(kinds.indexOf('restart broker SIGKILL'))
})

it('says what happens in words', () => {
  expect(describeFault({ kind: 'half-open', who: 'server-1', left: 'broker' })).toBe(
    'connections of server-1 left open at the broker only',
  )
  expect(describeFault({ kind: 'delete queue', queue: { of: 'replies to', who: 'sender-2' } })).toBe(
    'queue of replies to sender-2 deleted',
  )
})
