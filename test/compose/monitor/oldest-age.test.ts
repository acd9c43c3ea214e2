import { describe, expect, it } from 'vitest'
import { OldestAge } from '../../../src/compose/monitor/oldest-age.ts'

describe('the age of the oldest message of a queue, at most', () => {
  it('is unknown until something was taken, or nothing waited', () => {
    expect(new OldestAge().seconds('q', 3, undefined, 10_000)).toBeUndefined()
  })

  it('is 0 while nothing waits, whenever the last message was sent', () => {
    expect(new OldestAge().seconds('q', 0, 1_000, 10_000)).toBe(0)
  })

  it('counts from when the message was sent that was taken last', () => {
    expect(new OldestAge().seconds('q', 3, 4_000, 10_000)).toBe(6)
  })

  it('counts from the last look that found nothing, after an idle night', () => {
    const age = new OldestAge()
    age.seconds('q', 0, 1_000, 30_000_000)

    expect(age.seconds('q', 5, 1_000, 30_015_000)).toBe(15)
    expect(age.seconds('q', 5, 30_010_000, 30_020_000)).toBe(10)
  })

  it('is never below 0, whatever the clock of a sender says', () => {
    expect(new OldestAge().seconds('q', 1, 99_000, 10_000)).toBe(0)
  })

  it('is that of each queue by itself', () => {
    const age = new OldestAge()
    age.seconds('empty', 0, undefined, 5_000)

    expect(age.seconds('other', 1, undefined, 10_000)).toBeUndefined()
    expect(age.seconds('empty', 1, undefined, 10_000)).toBe(5)
  })
})
