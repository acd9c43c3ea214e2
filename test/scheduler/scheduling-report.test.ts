import { describe, expect, it } from 'vitest'
import { SchedulingReport } from '../../src/objects/scheduling-report.ts'
import { defaultFilters } from '../../src/scheduler/filters/default-filters.ts'
import { LOST_CLAIM, noValidHost } from '../../src/scheduler/no-valid-host.ts'
import { schedulingReport, summaryOf } from '../../src/scheduler/scheduling-report.ts'
import { aHost, aRequest, INSTANCE_UUID } from './builders.ts'

const rejection = (n: number, filter: string, reason = 'no') => ({ host: `cn-${n}`, filter, reason })

describe('a scheduling report', () => {
  it('counts all hosts and names the first of every filter in turn', () => {
    const report = schedulingReport(
      summaryOf([...Array.from({ length: 1000 }, (_, n) => rejection(n, 'Resources')), rejection(1000, 'Uefi')]),
      [{ host: aHost('cn-2000'), weight: 1.5, weights: { RAM: 1, CPU: 0.5 } }],
    )

    expect(report).toEqual({
      hosts_considered: 1002,
      rejected: [
        { filter: 'Resources', hosts: 1000 },
        { filter: 'Uefi', hosts: 1 },
      ],
      rejections: [
        rejection(0, 'Resources'),
        rejection(1000, 'Uefi'),
        ...Array.from({ length: 18 }, (_, n) => rejection(n + 1, 'Resources')),
      ],
      ranking: [{ host: 'cn-2000', weight: 1.5, weights: { RAM: 1, CPU: 0.5 } }],
    })
  })

  it('stays within its schema however many hosts and words there are', () => {
    const ranking = Array.from({ length: 50 }, (_, n) => ({ host: aHost(`r-${n}`), weight: 0, weights: {} }))

    const report = schedulingReport(summaryOf([rejection(1, 'Own', 'x'.repeat(9000))]), ranking)

    expect(SchedulingReport.parse(report)).toEqual(report)
  })
})

describe('the error when no host is left', () => {
  it('says who said no, how often, and what would help the host that came furthest', () => {
    const rejections = [
      ...[1, 2, 3].map((n) => rejection(n, 'MemEncryptionModel', 'offers no SEV')),
      ...[4, 5].map((n) => rejection(n, 'MemEncryptionSlots', '15 of 15 SEV slots used, 0 reserved')),
    ]

    const error = noValidHost(aRequest({ model: 'amd-sev' }), summaryOf(rejections), defaultFilters())

    expect(error).toMatchObject({
      code: 'NO_VALID_HOST',
      message: `no valid host for instance ${INSTANCE_UUID}: 5 hosts considered; MemEncryptionModel rejected 3, MemEncryptionSlots 2`,
      details: {
        instance_uuid: INSTANCE_UUID,
        attempt: 1,
        report: schedulingReport(summaryOf(rejections), []),
        fix: 'delete an encrypted instance of this model there, or add a host with free slots; cn-4 is nearest: 15 of 15 SEV slots used, 0 reserved',
      },
    })
  })

  it('asks for a compute worker when no host has reported', () => {
    expect(noValidHost(aRequest(), summaryOf([]), defaultFilters())).toMatchObject({
      message: `no valid host for instance ${INSTANCE_UUID}: 0 hosts considered`,
      details: { fix: 'start a compute worker: no host has reported yet' },
    })
  })

  it('asks to try again when a host passed and was lost to another claim', () => {
    const rejections = [rejection(1, LOST_CLAIM), rejection(2, 'Resources')]

    expect(noValidHost(aRequest(), summaryOf(rejections), defaultFilters()).details.fix).toBe(
      'try again: other claims were faster',
    )
  })

  it("has words for a filter of the user's own that brings none", () => {
    const own = { name: 'Own', reject: () => 'no' }

    expect(noValidHost(aRequest(), summaryOf([rejection(1, 'Own')]), [own]).details.fix).toBe(
      'change what Own looks at; cn-1 is nearest: no',
    )
  })
})
