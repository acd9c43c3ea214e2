import { describe, expect, it } from 'vitest'
import { Liveness } from '../../../src/scheduler/hosts/liveness.ts'
import type { HostSeen } from '../../../src/scheduler/placement/feed.ts'
import { aHost } from '../builders.ts'

const LONGEST_GAP_MS = 2000

/** A fleet that reports every 10 s of a monotonic clock, is down after 60 s, and is looked at once a second. */
function aFleet(...names: readonly string[]) {
  const liveness = new Liveness({ longestGapMs: LONGEST_GAP_MS })
  for (const name of names) liveness.watch(aHost(name, { state: { reportIntervalSeconds: 10 } }))
  let now = 0
  let databaseClock = Date.parse('2026-03-01T10:00:00Z')
  const seen = new Map<string, HostSeen>(
    names.map((host) => [host, { host, lastSeenUp: new Date(databaseClock), downSince: undefined }]),
  )
  const look = () => liveness.observe([...seen.values()], now)
  const report = (host: string) => seen.set(host, { host, lastSeenUp: new Date(databaseClock), downSince: undefined })
  /** Looks every second; who reports does so every ten. */
  const pass = (seconds: number, { reporting = [] as readonly string[] } = {}) => {
    for (let second = 1; second <= seconds; second++) {
      now += 1000
      databaseClock += 1000
      if (second % 10 === 0) reporting.forEach(report)
      look()
    }
  }
  look()
  return {
    liveness,
    look,
    pass,
    report,
    seen,
    /** Time passes, and nobody looks. */
    skip: (seconds: number) => {
      now += seconds * 1000
      databaseClock += seconds * 1000
    },
    jump: (seconds: number) => {
      databaseClock += seconds * 1000
    },
  }
}

describe('whether a host lives', () => {
  it('is doubted once no sign of it was seen for more than its intervals, and known again with the next', () => {
    const { liveness, pass, report, look } = aFleet('silent', 'alive')

    pass(60, { reporting: ['alive'] })
    expect(liveness.silent()).toEqual([])
    pass(1)
    expect(liveness.silent()).toEqual(['silent'])
    liveness.bury(liveness.silent())

    expect(['silent', 'alive'].map((host) => liveness.isUp(host))).toEqual([false, true])
    expect(liveness.secondsSilent('silent')).toBe(64)
    expect(liveness.silent()).toEqual([])
    report('silent')
    expect(look()).toEqual(['silent'])
    expect(liveness.isUp('silent')).toBe(true)
  })

  it('does not depend on time in which nobody could look: a paused database, a suspended process', () => {
    const { liveness, pass, skip, look } = aFleet('cn-1', 'cn-2')

    pass(50)
    skip(3600)
    look()
    expect(liveness.silent()).toEqual([])
    // The hour counts as the longest gap, and no more.
    pass(8)
    expect(liveness.silent()).toEqual([])
    pass(1)
    expect(liveness.silent()).toEqual(['cn-1', 'cn-2'])
  })

  it.each([-86_400, 86_400])('does not depend on what the database says of the time: it jumps by %d s', (jump) => {
    const { liveness, pass } = aFleet('cn-1')
    const { pass: passOther, jump: jumpOther, liveness: other } = aFleet('cn-1')

    pass(30, { reporting: ['cn-1'] })
    passOther(30, { reporting: ['cn-1'] })
    jumpOther(jump)
    pass(61, { reporting: ['cn-1'] })
    passOther(61, { reporting: ['cn-1'] })

    expect([liveness.silent(), other.silent()]).toEqual([[], []])
    expect(other.secondsSilent('cn-1')).toBe(1)
  })

  it('is granted to all at the start, but to those that others hold for dead', () => {
    const liveness = new Liveness({ longestGapMs: LONGEST_GAP_MS })
    const longAgo = new Date('2026-02-01T00:00:00Z')
    for (const host of ['dead', 'silent']) {
      liveness.watch(aHost(host, { state: { secondsSinceSeen: 900, lastSeenUp: longAgo } }))
    }

    const changed = liveness.observe(
      [
        { host: 'dead', lastSeenUp: longAgo, downSince: new Date() },
        { host: 'silent', lastSeenUp: longAgo, downSince: undefined },
      ],
      5,
    )

    expect(changed).toEqual(['dead'])
    expect(['dead', 'silent'].map((host) => liveness.isUp(host))).toEqual([false, true])
    expect(liveness.secondsSilent('dead')).toBe(900)
    expect(liveness.silent()).toEqual([])
  })

  it('is judged by the interval that the host told last, and by two seconds at least', () => {
    const { liveness, pass } = aFleet('slow', 'quick')
    liveness.watch(aHost('slow', { state: { reportIntervalSeconds: 60 } }))
    liveness.watch(aHost('quick', { state: { reportIntervalSeconds: 0.1 } }))

    pass(2)
    expect(liveness.silent()).toEqual([])
    pass(1)
    expect(liveness.silent()).toEqual(['quick'])
    pass(357)
    expect(liveness.silent()).toEqual(['quick'])
    pass(1)
    expect(liveness.silent()).toEqual(['slow', 'quick'])
  })

  it('is no question of hosts that are gone, and of hosts that nobody watches', () => {
    const { liveness, pass, seen, look } = aFleet('gone')
    liveness.forget('gone')
    pass(100)
    seen.set('stranger', { host: 'stranger', lastSeenUp: new Date(), downSince: undefined })

    expect(look()).toEqual([])
    expect(liveness.silent()).toEqual([])
    expect(liveness.isUp('gone')).toBe(true)
    expect(liveness.lastSeenUp('gone')).toBeUndefined()
    expect(liveness.secondsSilent('gone')).toBeUndefined()
  })
})
