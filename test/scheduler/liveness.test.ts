import { describe, expect, it } from 'vitest'
import { isUp } from '../../src/scheduler/liveness.ts'

describe('liveness', () => {
  it.each([
    [0, 10, true],
    [60, 10, true],
    [60.1, 10, false],
    [1.9, 0.1, true],
    [2.1, 0.1, false],
  ])('of a host seen %s s ago that reports every %s s is %s', (seconds, interval, up) => {
    expect(isUp(seconds, interval)).toBe(up)
  })

  it('follows the configured number of intervals', () => {
    expect(isUp(25, 10, 2)).toBe(false)
    expect(isUp(25, 10, 3)).toBe(true)
  })
})
