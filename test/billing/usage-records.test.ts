import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { readFact } from '../../src/billing/read-fact.ts'
import type { UsageFact } from '../../src/billing/usage-fact.ts'
import { usageRecords, within } from '../../src/billing/usage-records.ts'
import { INSTANCE, told } from './told.ts'

const fact = (...args: Parameters<typeof told>) => readFact(told(...args)) as UsageFact
const brief = (facts: readonly UsageFact[]) =>
  usageRecords(facts).map(({ host, flavor, model, state, from, to, seconds }) =>
    [host, flavor.name, model, state, from, to, seconds].join(' '),
  )

const created = fact('instance.create.end')
const moved = fact('instance.rebuild.end', { host: 'node2', model: 'amd-sev-es', launched_at: '2026-11-02T00:00:00Z' })
const stopped = fact('instance.power_off.end', {
  ...{ host: 'node2', model: 'amd-sev-es', launched_at: '2026-11-02T00:00:00Z' },
  ...{ state: 'stopped', at: '2026-11-03T00:00:00Z' },
})
const deleted = fact('instance.delete.end', {
  ...{ host: 'node2', model: 'amd-sev-es', launched_at: '2026-11-02T00:00:00Z' },
  ...{ state: 'deleted', terminated_at: '2026-11-03T00:00:10Z' },
})
const life = [created, moved, stopped, deleted]
const LIFE = [
  'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-02T00:00:00Z 86400',
  'node2 m1.sev amd-sev-es active 2026-11-02T00:00:00Z 2026-11-03T00:00:00Z 86400',
  'node2 m1.sev amd-sev-es stopped 2026-11-03T00:00:00Z 2026-11-03T00:00:10Z 10',
]

describe('the use of an instance', () => {
  it('is one record for each way in which it ran: host, flavor, encryption, stopped or not', () => {
    expect(brief(life)).toEqual(LIFE)
    expect(usageRecords(life)[0]).toEqual({
      instance_uuid: INSTANCE,
      project_id: 'blue',
      user_id: 'ada',
      display_name: 'web-1',
      host: 'node1',
      flavor: { name: 'm1.sev', vcpus: 2, memory_mb: 4096 },
      model: 'amd-sev',
      state: 'active',
      from: '2026-11-01T00:00:00Z',
      to: '2026-11-02T00:00:00Z',
      seconds: 86_400,
      inferred: false,
    })
  })

  it('is the same in whatever order its facts come', () => {
    const anyOrder = fc.shuffledSubarray(life, { minLength: life.length })

    fc.assert(
      fc.property(anyOrder, (facts) => {
        expect(brief(facts)).toEqual(LIFE)
      }),
    )
  })

  it('begins where a later notification says, and ends where one does, whichever of them were lost', () => {
    const launched = Date.parse('2026-11-01T00:00:00Z')
    const gone = Date.parse('2026-11-03T00:00:10Z')

    fc.assert(
      fc.property(fc.subarray(life.slice(1, 3)), (some) => {
        const records = usageRecords([created, ...some, deleted])
        const seconds = records.reduce((sum, record) => sum + record.seconds, 0)
        expect(seconds).toBe((gone - launched) / 1000)
      }),
    )
    // Of its launch, only what the others tell.
    expect(brief([deleted])).toEqual([
      'node2 m1.sev amd-sev-es deleted 2026-11-02T00:00:00Z 2026-11-03T00:00:10Z 86410',
    ])
    expect(usageRecords([deleted])[0]?.inferred).toBe(true)
  })

  it('goes on until it ends, and is open until then', () => {
    const [record] = usageRecords([created])

    expect(record).toMatchObject({ from: '2026-11-01T00:00:00Z', to: null })
    const span = { from: '2026-11-10T00:00:00Z', to: '2026-11-10T01:00:00Z' }
    expect(within(record as never, span)).toMatchObject({ ...span, to: null, seconds: 3600 })
  })

  it('is not counted twice when it is told twice that it began, or that it ended', () => {
    const again = { ...created, message_id: 'another' }
    const gone = { ...deleted, message_id: 'another', at: '2026-11-04T00:00:00Z' }

    expect(brief([...life, again, gone])).toEqual(LIFE)
  })

  it('begins anew where it was shelved in between', () => {
    const shelved = fact('instance.shelve_offload.end', { state: 'shelved_offloaded', at: '2026-11-01T01:00:00Z' })
    const back = fact('instance.unshelve.end', { host: 'node3', at: '2026-11-01T05:00:00Z' })
    const gone = fact('instance.delete.end', { host: 'node3', terminated_at: '2026-11-01T06:00:00Z' })

    expect(brief([created, shelved, back, gone])).toEqual([
      'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-01T01:00:00Z 3600',
      'node3 m1.sev amd-sev active 2026-11-01T05:00:00Z 2026-11-01T06:00:00Z 3600',
    ])
  })

  it('is known from instance.exists where both ends were lost', () => {
    const seen = fact('instance.exists', {
      period: ['2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'],
      terminated_at: '2026-11-05T00:00:00Z',
    })

    expect(brief([seen])).toEqual(['node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-05T00:00:00Z 345600'])
    expect(usageRecords([seen])[0]?.inferred).toBe(true)
  })

  it('is of one that is off again after its resize, and on again after a hard reboot or a rescue', () => {
    const off = fact('instance.power_off.end', { state: 'stopped', at: '2026-11-01T01:00:00Z' })
    const resized = { flavor: { name: 'm1.large' }, state: 'resized', at: '2026-11-01T02:00:00Z' }
    const confirmed = { flavor: { name: 'm1.large' }, state: 'stopped', at: '2026-11-01T03:00:00Z' }
    const rebooted = { flavor: { name: 'm1.large' }, state: 'active', at: '2026-11-01T04:00:00Z' }
    const life = [
      ...[created, off, fact('instance.resize_finish.end', resized), fact('instance.resize_confirm.end', confirmed)],
      fact('instance.reboot.end', rebooted),
    ]

    expect(brief(life)).toEqual([
      'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-01T01:00:00Z 3600',
      'node1 m1.sev amd-sev stopped 2026-11-01T01:00:00Z 2026-11-01T02:00:00Z 3600',
      'node1 m1.large amd-sev resized 2026-11-01T02:00:00Z 2026-11-01T03:00:00Z 3600',
      'node1 m1.large amd-sev stopped 2026-11-01T03:00:00Z 2026-11-01T04:00:00Z 3600',
      'node1 m1.large amd-sev active 2026-11-01T04:00:00Z  0',
    ])
    const rescued = fact('instance.rescue.end', { state: 'rescued', at: '2026-11-01T02:00:00Z' })
    expect(brief([created, off, rescued]).at(-1)).toContain('rescued 2026-11-01T02:00:00Z')
  })

  it('is in the order of their numbers within a second, and what was otherwise for less is not in it', () => {
    const at = '2026-11-01T01:00:00Z'
    const off = fact('instance.power_off.end', { state: 'stopped', at, sequence: 9, message_id: 'z' })
    const on = fact('instance.power_on.end', { at, sequence: 11, message_id: 'a' })

    expect(brief([created, on, off])).toEqual(['node1 m1.sev amd-sev active 2026-11-01T00:00:00Z  0'])
  })

  it('ends with its end, however the clocks of its hosts differ, and whoever tells of it', () => {
    const minute = fc.integer({ min: -60, max: 60 })
    const begin = Date.parse('2026-11-01T00:00:00Z')
    const at = (second: number) => `${new Date(begin + second * 1000).toISOString().slice(0, 19)}Z`
    const end = fc.constantFrom('instance.delete.end', 'instance.shelve_offload.end', 'instance.exists')

    fc.assert(
      fc.property(
        minute,
        minute,
        fc.integer({ min: 0, max: 90 }),
        end,
        fc.boolean(),
        (one, other, life, event, late) => {
          const [launched, gone] = [at(one), at(life + other)]
          const created = fact('instance.create.end', { launched_at: launched, sequence: 3 })
          const ended = fact(event, {
            ...{
              launched_at: launched,
              state: 'deleted',
              at: event === 'instance.exists' ? at(7200) : gone,
              sequence: 7,
            },
            terminated_at: event === 'instance.shelve_offload.end' ? null : gone,
            ...(event === 'instance.exists' && { period: [at(0), at(3600)] as const }),
          })
          const records = usageRecords(late ? [ended, created] : [created, ended])
          const seconds = Math.max(0, life + other - one)
          expect(records.map(({ from, to, seconds }) => ({ from, to, seconds }))).toEqual(
            seconds === 0 ? [] : [{ from: launched, to: gone, seconds }],
          )
        },
      ),
    )
  })

  it('is over when its end came after its beginning by number, be a clock hours off', () => {
    const created = fact('instance.create.end', { launched_at: '2026-11-01T05:00:00Z', sequence: 3 })
    const deleted = { launched_at: '2026-11-01T05:00:00Z', terminated_at: '2026-11-01T00:00:10Z', sequence: 7 }

    expect(brief([created, fact('instance.delete.end', deleted)])).toEqual([])
  })

  it('ends where numbers come a second time, as after a database was restored', () => {
    const off = fact('instance.power_off.end', { state: 'stopped', at: '2026-11-01T01:00:00Z', sequence: 17 })
    const gone = fact('instance.delete.end', { terminated_at: '2026-11-01T02:00:00Z', sequence: 9 })
    const first = fact('instance.create.end', { sequence: 3 })

    expect(brief([first, off, gone])).toEqual([
      'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-01T01:00:00Z 3600',
      'node1 m1.sev amd-sev stopped 2026-11-01T01:00:00Z 2026-11-01T02:00:00Z 3600',
    ])
  })

  it('goes from change to change in the order of their numbers, and no change is before the one that it follows', () => {
    const at = (second: number) => `2026-11-01T01:00:${String(second).padStart(2, '0')}Z`
    const off = fact('instance.power_off.end', { state: 'stopped', at: at(45), sequence: 5 })
    const moved = fact('instance.resize_finish.end', { host: 'node2', state: 'resized', at: at(5), sequence: 8 })
    const on = fact('instance.resize_confirm.end', { host: 'node2', at: at(55), sequence: 11 })
    // Nova's, between the two by its time.
    const paused = fact('instance.pause.end', { host: 'node2', state: 'paused', at: at(50), model: 'nova' })

    fc.assert(
      fc.property(fc.shuffledSubarray([created, off, moved, paused, on], { minLength: 5 }), (facts) => {
        expect(brief(facts)).toEqual([
          'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-01T01:00:45Z 3645',
          'node2 m1.sev amd-sev resized 2026-11-01T01:00:45Z 2026-11-01T01:00:50Z 5',
          'node2 m1.sev  paused 2026-11-01T01:00:50Z 2026-11-01T01:00:55Z 5',
          'node2 m1.sev amd-sev active 2026-11-01T01:00:55Z  0',
        ])
      }),
    )
  })

  it('has what happened between the end of a period and when instance.exists told of it, and of its end', () => {
    const period = ['2026-11-01T00:00:00Z', '2026-11-02T00:00:00Z'] as const
    const off = fact('instance.power_off.end', { state: 'stopped', at: '2026-11-02T00:05:00Z' })
    const end = { state: 'deleted', terminated_at: '2026-11-02T00:08:00Z' }
    const exists = fact('instance.exists', { ...end, period, at: '2026-11-02T00:10:00Z' })

    expect(brief([created, off, exists])).toEqual([
      'node1 m1.sev amd-sev active 2026-11-01T00:00:00Z 2026-11-02T00:05:00Z 86700',
      'node1 m1.sev amd-sev stopped 2026-11-02T00:05:00Z 2026-11-02T00:08:00Z 180',
    ])
  })

  it('is cut to the span that is asked for, to the second', () => {
    const [record] = usageRecords(life)
    const cut = (from: string | null, to: string) => within(record as never, { from, to })

    expect(cut(null, '2026-12-01T00:00:00Z')).toEqual(record)
    expect(cut('2026-11-01T23:59:59Z', '2026-12-01T00:00:00Z')).toMatchObject({ seconds: 1 })
    expect(cut(null, '2026-11-01T00:00:01Z')).toMatchObject({ to: '2026-11-01T00:00:01Z', seconds: 1 })
    expect(cut('2026-11-02T00:00:00Z', '2026-12-01T00:00:00Z')).toBeUndefined()
    expect(cut(null, '2026-11-01T00:00:00Z')).toBeUndefined()
  })

  it('adds up over spans that follow each other, wherever they are cut', () => {
    const second = fc.integer({ min: 1, max: 3 * 86_400 + 9 })

    fc.assert(
      fc.property(second, (offset) => {
        const middle = `${new Date(Date.parse('2026-11-01T00:00:00Z') + offset * 1000).toISOString().slice(0, 19)}Z`
        const sum = (from: string | null, to: string) =>
          usageRecords(life).reduce((all, record) => all + (within(record, { from, to })?.seconds ?? 0), 0)
        const [before, after] = [sum(null, middle), sum(middle, '2026-12-01T00:00:00Z')]
        expect(before + after).toBe(86_400 + 86_400 + 10)
      }),
    )
  })
})
