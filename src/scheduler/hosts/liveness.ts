import type { HostState } from '../host-state.ts'
import { DOWN_AFTER_INTERVALS } from '../liveness.ts'
import type { HostSeen } from '../placement/feed.ts'
import type { LifeSigns } from './host-table.ts'

/** However short a host's interval is: one slow statement must not declare it dead. */
const DOWN_AFTER_MS_AT_LEAST = 2000

interface Watched {
  lastSeenUp: Date
  /** On the clock that stands still while nothing can be seen. */
  seenAt: number
  /** Before it was watched, as the database says: for words only. */
  silentBeforeMs: number
  downAfterMs: number
  isUp: boolean
  /** Its sign of life has been asked for at least once since it is watched. */
  isObserved: boolean
}

interface LivenessOptions {
  readonly downAfterIntervals?: number
  /** At most so much silence can be noticed between two observations: what is longer is the observer's own. */
  readonly longestGapMs: number
}

/**
 * Which hosts live. A host is down when no new sign of life was seen for some of its intervals by somebody who could
 * have seen it: while the database did not answer, or this process was suspended, nobody was silent. What the signs
 * say of the time is not believed, only that they change: the database's clock may jump.
 */
export class Liveness implements LifeSigns {
  readonly #downAfterIntervals: number
  readonly #longestGapMs: number
  readonly #hosts = new Map<string, Watched>()
  #lastObserved: number | undefined
  #watchedMs = 0
  /** Before it nobody has been silent for too long, as far as is known of all. */
  #silentFrom = 0

  constructor({ downAfterIntervals = DOWN_AFTER_INTERVALS, longestGapMs }: LivenessOptions) {
    this.#downAfterIntervals = downAfterIntervals
    this.#longestGapMs = longestGapMs
  }

  /** Begins to watch a host, or takes over its new interval. */
  watch({ host, reportIntervalSeconds, secondsSinceSeen, lastSeenUp }: HostState): void {
    const downAfterMs = Math.max(reportIntervalSeconds * 1000 * this.#downAfterIntervals, DOWN_AFTER_MS_AT_LEAST)
    const known = this.#hosts.get(host)
    this.#silentFrom = Math.min(this.#silentFrom, (known?.seenAt ?? this.#watchedMs) + downAfterMs)
    if (known) known.downAfterMs = downAfterMs
    else {
      const silentBeforeMs = Math.max(0, secondsSinceSeen * 1000)
      const seenAt = this.#watchedMs
      const alive = { isUp: true, isObserved: false }
      this.#hosts.set(host, { lastSeenUp, seenAt, silentBeforeMs, downAfterMs, ...alive })
    }
  }

  forget(host: string): void {
    this.#hosts.delete(host)
  }

  /**
   * Takes the signs of life that were asked for at `nowMs`.
   *
   * @param nowMs by a clock that never jumps
   * @returns hosts of which it is now known otherwise whether they live
   */
  observe(seen: readonly HostSeen[], nowMs: number): readonly string[] {
    const gap = nowMs - (this.#lastObserved ?? nowMs)
    this.#lastObserved = nowMs
    this.#watchedMs += Math.min(Math.max(gap, 0), this.#longestGapMs)
    const changed: string[] = []
    for (const { host, lastSeenUp, downSince } of seen) {
      const watched = this.#hosts.get(host)
      if (watched === undefined) continue
      const wasUp = watched.isUp
      if (!watched.isObserved) {
        // Others may know more of it.
        watched.isObserved = true
        watched.isUp = downSince === undefined
      } else if (watched.lastSeenUp.getTime() !== lastSeenUp.getTime()) {
        watched.isUp = true
        watched.silentBeforeMs = 0
        watched.seenAt = this.#watchedMs
      }
      watched.lastSeenUp = lastSeenUp
      if (watched.isUp === wasUp) continue
      changed.push(host)
      this.#silentFrom = Math.min(this.#silentFrom, watched.seenAt + watched.downAfterMs)
    }
    return changed
  }

  /** Up by what was told so far, and silent for too long: to be asked for once more before it is believed. */
  silent(): readonly string[] {
    // Asked every second: as long as it cannot be of any, they are not walked.
    if (this.#watchedMs <= this.#silentFrom) return []
    const silent: string[] = []
    this.#silentFrom = Number.POSITIVE_INFINITY
    this.#hosts.forEach(({ isUp, seenAt, downAfterMs }, host) => {
      if (!isUp) return
      if (this.#watchedMs - seenAt > downAfterMs) silent.push(host)
      this.#silentFrom = Math.min(this.#silentFrom, seenAt + downAfterMs)
    })
    return silent
  }

  /** Holds these hosts for dead until their next sign of life. */
  bury(hosts: readonly string[]): void {
    for (const host of hosts) {
      const watched = this.#hosts.get(host)
      if (watched) watched.isUp = false
    }
  }

  isUp(host: string): boolean {
    return this.#hosts.get(host)?.isUp ?? true
  }

  lastSeenUp(host: string): Date | undefined {
    return this.#hosts.get(host)?.lastSeenUp
  }

  secondsSilent(host: string): number | undefined {
    const watched = this.#hosts.get(host)
    return watched && (watched.silentBeforeMs + this.#watchedMs - watched.seenAt) / 1000
  }
}
