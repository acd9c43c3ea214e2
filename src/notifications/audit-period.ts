import { z } from 'zod'

/**
 * Nova's `instance_usage_audit_period`: `hour`, `day`, `month` or `year`, and after an `@` where in it a period begins: the
 * minute of the hour, the hour of the day, the day of the month (up to 28: every month has it), the month of the year. All UTC.
 */
export const AuditPeriodSetting = z
  .string()
  .regex(
    /^(?:hour(?:@[0-5]?\d)?|day(?:@(?:1?\d|2[0-3]))?|month(?:@(?:[1-9]|1\d|2[0-8]))?|year(?:@(?:[1-9]|1[0-2]))?)$/,
    'write hour, day, month or year, with an offset if need be: hour@30, day@6, month@15, year@4',
  )
export type AuditPeriodSetting = z.infer<typeof AuditPeriodSetting>

export interface AuditPeriod {
  readonly beginning: Date
  readonly ending: Date
}

/** Those that have ended and come after the one that ended last; without one, the last alone. Oldest first. */
export function periodsSince(setting: AuditPeriodSetting, last: Date | undefined, now: Date): readonly AuditPeriod[] {
  const periods: AuditPeriod[] = []
  let ending = boundaryUpTo(setting, now)
  while (last === undefined ? periods.length === 0 : ending > last) {
    const beginning = boundaryUpTo(setting, new Date(ending.getTime() - 1))
    periods.unshift({ beginning, ending })
    ending = beginning
  }
  return periods
}

/** The one that has begun, up to now. */
export function currentPeriod(setting: AuditPeriodSetting, now: Date): AuditPeriod {
  return { beginning: boundaryUpTo(setting, now), ending: now }
}

/** The latest boundary of two periods that is not after a time. */
function boundaryUpTo(setting: AuditPeriodSetting, time: Date): Date {
  const [unit, offset] = setting.split('@') as [keyof typeof BOUNDARIES, string | undefined]
  const { first, at } = BOUNDARIES[unit]
  const of = (back: number) => at(time, offset === undefined ? first : Number(offset), back)
  const here = of(0)
  return here <= time ? here : of(1)
}

/** @param back so many units earlier */
type Boundary = (time: Date, offset: number, back: number) => Date

const BOUNDARIES: Readonly<
  Record<'hour' | 'day' | 'month' | 'year', { readonly first: number; readonly at: Boundary }>
> = {
  hour: {
    first: 0,
    at: (t, offset, back) =>
      new Date(Date.UTC(t.getUTCFullYear(), t.getUTCMonth(), t.getUTCDate(), t.getUTCHours() - back, offset)),
  },
  day: {
    first: 0,
    at: (t, offset, back) => new Date(Date.UTC(t.getUTCFullYear(), t.getUTCMonth(), t.getUTCDate() - back, offset)),
  },
  month: { first: 1, at: (t, offset, back) => new Date(Date.UTC(t.getUTCFullYear(), t.getUTCMonth() - back, offset)) },
  year: { first: 1, at: (t, offset, back) => new Date(Date.UTC(t.getUTCFullYear() - back, offset - 1)) },
}
