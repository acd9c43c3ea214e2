import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Extremes } from '../../../src/scheduler/choosing/extremes.ts'

const value = fc.oneof(
  { weight: 5, arbitrary: fc.integer({ min: -3, max: 3 }) },
  fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
)

describe('the extremes of values that come and go', () => {
  it('are those of the values that are there, or are known to be unknown', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(value, fc.boolean()), { maxLength: 30 }), (steps) => {
        const extremes = new Extremes()
        const there: number[] = []
        for (const [one, goes] of steps) {
          const gone = goes ? there.shift() : undefined
          if (gone === undefined) {
            there.push(one)
            extremes.add(one)
          } else extremes.remove(gone)
          if (!extremes.isKnown) continue
          const finite = there.filter(Number.isFinite)
          expect([extremes.lowest, extremes.highest]).toEqual([Math.min(...finite), Math.max(...finite)])
        }
      }),
    )
  })

  it('are unknown without values, and when the only one at an end has gone', () => {
    const extremes = new Extremes()
    expect(extremes.isKnown).toBe(false)

    for (const one of [1, 1, 2]) extremes.add(one)
    extremes.remove(1)
    expect(extremes.isKnown).toBe(true)
    extremes.remove(2)
    expect(extremes.isKnown).toBe(false)
    extremes.forget()
    extremes.add(1)
    expect([extremes.isKnown, extremes.lowest, extremes.highest]).toEqual([true, 1, 1])
  })
})
