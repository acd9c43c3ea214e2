import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { Backoff } from '../../src/rpc/backoff.ts'

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['performance'] })
})

afterEach(() => {
  vi.useRealTimers()
})

/** The pauses between tries that fail at once, each waited. */
function pauses(backoff: Backoff, count: number, calmMs = 0): number[] {
  return Array.from({ length: count }, () => {
    const pauseMs = backoff.nextMs()
    vi.advanceTimersByTime(pauseMs + calmMs)
    return pauseMs
  })
}

describe('pauses between tries', () => {
  it('double from a tenth of a second to ten seconds, each between half and all of that', () => {
    const all = pauses(new Backoff(), 12)

    const full = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000, 10_000, 10_000]
    for (const [index, pauseMs] of all.entries()) {
      expect(pauseMs).toBeLessThanOrEqual(full[index] as number)
      expect(pauseMs).toBeGreaterThanOrEqual((full[index] as number) / 2)
    }
  })

  it('are as long as they are wanted, and begin again after as much calm', () => {
    const backoff = new Backoff({ firstMs: 1_000, longestMs: 3_000, calmMs: 60_000 })

    const all = pauses(backoff, 4, 50_000)
    vi.advanceTimersByTime(80_000)

    for (const [index, full] of [1_000, 2_000, 3_000, 3_000].entries()) {
      expect(all[index]).toBeLessThanOrEqual(full)
      expect(all[index]).toBeGreaterThanOrEqual(full / 2)
    }
    expect(backoff.nextMs()).toBeLessThanOrEqual(1_000)
  })

  it('are never the same for many at once', () => {
    expect(new Set(Array.from({ length: 50 }, () => new Backoff().nextMs())).size).toBe(50)
  })

  it('begin again after some calm, longer after longer trouble', () => {
    expect(Math.max(...pauses(new Backoff(), 20, 3000))).toBeLessThanOrEqual(100)

    const long = new Backoff()
    pauses(long, 10)
    vi.advanceTimersByTime(15_000)
    expect(long.nextMs()).toBeGreaterThanOrEqual(5000)
    vi.advanceTimersByTime(45_000)
    expect(long.nextMs()).toBeLessThanOrEqual(100)
  })

  it('are below a second again after what was tried has worked for a while, and not after less', () => {
    const backoff = new Backoff()
    pauses(backoff, 10)

    vi.advanceTimersByTime(1_000)
    expect(backoff.nextMs(1_000)).toBeGreaterThanOrEqual(5_000)
    vi.advanceTimersByTime(5_000)
    expect(backoff.nextMs(5_000)).toBeLessThanOrEqual(800)
  })
})
