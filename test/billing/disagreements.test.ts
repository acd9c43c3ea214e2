import { describe, expect, it } from 'vitest'
import type { AuditedPeriod } from '../../src/billing/audited-period.ts'
import { disagreements } from '../../src/billing/disagreements.ts'
import { readFact } from '../../src/billing/read-fact.ts'
import type { UsageFact } from '../../src/billing/usage-fact.ts'
import { usageOf } from '../../src/billing/usage-records.ts'
import { told } from './told.ts'

const fact = (...args: Parameters<typeof told>) => readFact(told(...args)) as UsageFact
const DAY = ['2026-11-02T00:00:00Z', '2026-11-03T00:00:00Z'] as const
const audited: readonly AuditedPeriod[] = [{ host: 'node1', beginning: DAY[0], ending: DAY[1] }]
const found = (facts: readonly UsageFact[]) =>
  disagreements(facts, usageOf(facts), audited).map(({ kind, text }) => `${kind}: ${text}`)

const created = fact('instance.create.end')
const seen = fact('instance.exists', { period: DAY })

describe('ledger and instance.exists', () => {
  it('agree about an instance that runs as it is billed', () => {
    expect(found([created, seen])).toEqual([])
    const gone = fact('instance.delete.end', { terminated_at: '2026-11-02T05:00:00Z' })
    const ended = fact('instance.exists', { period: DAY, terminated_at: '2026-11-02T05:00:00Z' })
    expect(found([created, gone, ended])).toEqual([])
  })

  it('show a beginning that was lost, and an end', () => {
    const ended = fact('instance.exists', { period: DAY, terminated_at: '2026-11-02T05:00:00Z' })

    expect(found([seen])).toEqual(['lost beginning: billed from launched_at, 2026-11-01T00:00:00Z'])
    expect(found([created, ended])).toEqual(['lost end: billed up to terminated_at, 2026-11-02T05:00:00Z'])
  })

  it('show what runs after it was billed to its end', () => {
    const gone = fact('instance.delete.end', { terminated_at: '2026-11-01T05:00:00Z' })

    expect(found([created, gone, seen])).toEqual(['not billed: it was on node1 in the period to 2026-11-03T00:00:00Z'])
  })

  it('show what is billed otherwise than it runs', () => {
    const other = fact('instance.exists', {
      ...{ period: DAY, host: 'node2', model: null, flavor: { name: 'm1.large' } },
    })

    expect(found([created, other])).toEqual([
      'billed otherwise: host was node2 in the period to 2026-11-03T00:00:00Z, and is billed as node1',
      'billed otherwise: flavor was m1.large in the period to 2026-11-03T00:00:00Z, and is billed as m1.sev',
      'billed otherwise: encryption was none in the period to 2026-11-03T00:00:00Z, and is billed as amd-sev',
    ])
  })

  it('agree about what changed after the period and before it was told of, and about what was no second long', () => {
    const moved = fact('instance.resize_finish.end', { host: 'node2', at: '2026-11-03T00:02:00Z' })
    const later = fact('instance.exists', { period: DAY, host: 'node2', at: '2026-11-03T00:05:00Z' })
    const atOnce = fact('instance.exists', { period: DAY, at: '2026-11-03T00:02:00Z' })
    const short = { launched_at: '2026-11-02T05:00:00Z', terminated_at: '2026-11-02T05:00:00Z' }

    expect([found([created, moved, later]), found([created, moved, atOnce])]).toEqual([[], []])
    expect(found([fact('instance.delete.end', short), fact('instance.exists', { ...short, period: DAY })])).toEqual([])
    expect(found([created, fact('instance.shelve_offload.end', { at: '2026-11-01T05:00:00Z' })])).toEqual([])
  })

  describe('of one that was shelved', () => {
    const shelved = (at: string) => fact('instance.shelve_offload.end', { at, host: null, state: 'shelved_offloaded' })
    const back = (at: string) => fact('instance.unshelve.end', { at, host: 'node2' })
    const onNone = (at: string) => fact('instance.exists', { period: DAY, host: null, state: 'shelved_offloaded', at })

    it('agree that it was on no host, and where it is since, by clocks that differ', () => {
      const put = [created, shelved('2026-11-01T05:00:00Z'), onNone('2026-11-03T00:02:00Z')]

      expect(found(put)).toEqual([])
      expect(found([...put, back('2026-11-03T00:01:00Z')])).toEqual([])
      expect(found([...put, back('2026-11-03T00:03:00Z')])).toEqual([])
    })

    it('show a lost end, and a lost beginning, though it had others', () => {
      const ended = fact('instance.exists', { period: DAY, host: 'node2', terminated_at: '2026-11-02T05:00:00Z' })
      const all = [shelved('2026-11-01T05:00:00Z'), back('2026-11-02T04:00:00Z'), ended]

      expect(found([created, ...all])).toEqual(['lost end: billed up to terminated_at, 2026-11-02T05:00:00Z'])
      expect(found(all)).toEqual([
        'lost beginning: billed from launched_at, 2026-11-01T00:00:00Z',
        'lost end: billed up to terminated_at, 2026-11-02T05:00:00Z',
      ])
    })

    it('show that it is billed all the while that it is on none', () => {
      expect(found([created, onNone('2026-11-03T00:02:00Z')])).toContain(
        'billed otherwise: host was none in the period to 2026-11-03T00:00:00Z, and is billed as node1',
      )
    })
  })

  it('show what is billed as off and is on', () => {
    const off = fact('instance.power_off.end', { state: 'stopped', at: '2026-11-01T05:00:00Z' })

    expect(found([created, off, seen])).toEqual([
      'billed otherwise: power was on in the period to 2026-11-03T00:00:00Z, and is billed as off',
    ])
  })

  it('show what is billed and that its host no longer tells of', () => {
    expect(found([created])).toEqual([
      'not seen: node1 told of others in the period to 2026-11-03T00:00:00Z, and not of it: its end may be lost',
    ])
    // It came later, or left before: the period says nothing about it.
    expect(found([fact('instance.create.end', { launched_at: '2026-11-02T12:00:00Z' })])).toEqual([])
    expect(found([fact('instance.create.end', { host: 'node2' })])).toEqual([])
  })
})
