import { z } from 'zod'
import type { Span } from '../billing/usage-records.ts'
import { InvalidArguments } from '../errors.ts'

export interface BillSpan {
  readonly from?: string
  readonly to?: string
  readonly month?: string
}

const Moment = z.union([z.iso.date(), z.iso.datetime({ offset: true })])
const Month = z.string().regex(/^\d{4}-(?:0[1-9]|1[0-2])$/)

/** From when to when: what is open now is counted up to now, be it in the middle of a month. */
export function spanOf({ from, to, month }: BillSpan, now = new Date()): Span {
  if (month !== undefined) {
    if (from !== undefined || to !== undefined)
      throw wrong('--month', month, 'says it all: leave --from and --to out', 'give --month, or --from and --to')
    if (!Month.safeParse(month).success) throw wrong('--month', month, 'is no month', 'write e.g. --month 2026-11')
    const [year, number] = month.split('-').map(Number) as [number, number]
    const begin = new Date(Date.UTC(year, number - 1))
    if (begin >= now) throw wrong('--month', month, 'has not begun', 'give one that has')
    return spanUpTo(now, begin, new Date(Date.UTC(year, number)))
  }
  const begin = from === undefined ? null : momentOf('--from', from)
  const end = to === undefined ? now : momentOf('--to', to)
  if (begin !== null && begin >= end) throw wrong('--from', from, 'is not before --to', 'give the earlier one first')
  if (begin !== null && begin >= now) throw wrong('--from', from, 'is yet to come', 'give a time that has been')
  return spanUpTo(now, begin, end)
}

function spanUpTo(now: Date, from: Date | null, to: Date): Span {
  return { from: from && seconds(from), to: seconds(to < now ? to : now) }
}

function momentOf(field: string, value: string): Date {
  if (!Moment.safeParse(value).success)
    throw wrong(field, value, 'is no time', 'write a day, 2026-11-01, or a time, 2026-11-01T12:00:00Z')
  return new Date(value)
}

function seconds(moment: Date): string {
  return `${moment.toISOString().slice(0, 19)}Z`
}

function wrong(field: string, value: unknown, what: string, fix: string): InvalidArguments {
  return new InvalidArguments(`${field} ${JSON.stringify(value)} ${what}`, { field, value, fix })
}
