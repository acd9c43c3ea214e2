import { describe, expect, it } from 'vitest'
import { AuditPeriodSetting, periodsSince } from '../../src/notifications/audit-period.ts'

const NOW = new Date('2026-11-27T13:22:31Z')

function told(setting: string, last?: string, now = NOW): string[] {
  const periods = periodsSince(AuditPeriodSetting.parse(setting), last === undefined ? undefined : new Date(last), now)
  return periods.map(({ beginning, ending }) => `${short(beginning)} to ${short(ending)}`)
}

function short(date: Date): string {
  return date.toISOString().slice(0, 16)
}

describe('audit periods', () => {
  // By hand from Nova's last_completed_audit_period.
  it.each([
    ['hour', '2026-11-27T12:00 to 2026-11-27T13:00'],
    ['hour@22', '2026-11-27T12:22 to 2026-11-27T13:22'],
    ['hour@23', '2026-11-27T11:23 to 2026-11-27T12:23'],
    ['day', '2026-11-26T00:00 to 2026-11-27T00:00'],
    ['day@13', '2026-11-26T13:00 to 2026-11-27T13:00'],
    ['day@14', '2026-11-25T14:00 to 2026-11-26T14:00'],
    ['month', '2026-10-01T00:00 to 2026-11-01T00:00'],
    ['month@27', '2026-10-27T00:00 to 2026-11-27T00:00'],
    ['month@28', '2026-09-28T00:00 to 2026-10-28T00:00'],
    ['year', '2025-01-01T00:00 to 2026-01-01T00:00'],
    ['year@11', '2025-11-01T00:00 to 2026-11-01T00:00'],
    ['year@12', '2024-12-01T00:00 to 2025-12-01T00:00'],
  ])('of %s: the last one that has ended is %s', (setting, last) => {
    expect(told(setting)).toEqual([last])
  })

  it('that ended since the last one are all there, oldest first; none comes twice', () => {
    expect(told('hour', '2026-11-27T10:00:00Z')).toEqual([
      '2026-11-27T10:00 to 2026-11-27T11:00',
      '2026-11-27T11:00 to 2026-11-27T12:00',
      '2026-11-27T12:00 to 2026-11-27T13:00',
    ])
    expect(told('hour', '2026-11-27T13:00:00Z')).toEqual([])
  })

  it('meet, over leap days and ends of years', () => {
    const days = told('day', '2027-12-30T00:00:00Z', new Date('2028-03-02T00:00:00Z'))

    expect(days).toHaveLength(63)
    expect(days.slice(1).map((day) => day.slice(0, 16))).toEqual(days.slice(0, -1).map((day) => day.slice(20)))
    expect(told('month@28', '2027-12-28T00:00:00Z', new Date('2028-03-28T00:00:00Z'))).toEqual([
      '2027-12-28T00:00 to 2028-01-28T00:00',
      '2028-01-28T00:00 to 2028-02-28T00:00',
      '2028-02-28T00:00 to 2028-03-28T00:00',
    ])
  })

  it.each(['week', 'hour@60', 'day@24', 'month@0', 'month@29', 'year@13', 'hour@'])(
    'cannot be of %s: the setting is refused',
    (setting) => {
      expect(AuditPeriodSetting.safeParse(setting).error?.issues[0]?.message).toContain(
        'write hour, day, month or year',
      )
    },
  )
})
