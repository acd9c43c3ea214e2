import { setTimeout as sleep } from 'node:timers/promises'
import { endedWithin } from '../../src/rpc/abortable.ts'
import type { CrewMember } from './crew.ts'
import type { Faults } from './faults.ts'
import { describeFault, type Planned } from './schedule.ts'

const POLL_MS = 100
/** Longer than any fault with what it takes to recover from it. */
const STUCK_MS = 30_000

/** Messages flow, and the schedule follows how many went well. What gets stuck is noted, and the run goes on to its audit. */
export class Traffic {
  readonly troubles: string[] = []
  readonly #crew: readonly CrewMember[]
  readonly #tell: (line: string) => void
  readonly #underWay = new Set<string>()

  constructor(crew: readonly CrewMember[], tell: (line: string) => void) {
    this.#crew = crew
    this.#tell = tell
  }

  get messages(): number {
    return this.#sum('messages')
  }

  /**
   * Resolves when the last fault is over.
   * @param messages that are to go well until then: calls that are answered, casts that are confirmed
   */
  async flow(planned: readonly Planned[], faults: Faults, messages: number): Promise<void> {
    const happening: Promise<void>[] = []
    for (const { at, fault } of planned) {
      await this.until(() => this.#sum('done') >= at * messages)
      const what = describeFault(fault)
      this.#tell(`${this.messages} messages, ${this.#sum('done')} done: ${what}`)
      this.#underWay.add(what)
      happening.push(faults.happen(fault).finally(() => this.#underWay.delete(what)))
    }
    if (await endedWithin(STUCK_MS, Promise.all(happening))) return void (await Promise.all(happening))
    this.#note('faults do not end')
  }

  /** Until then, or until nothing has gone well for so long that nothing will. */
  async until(condition: () => boolean): Promise<void> {
    let [done, since] = [this.#sum('done'), performance.now()]
    while (!condition()) {
      await sleep(POLL_MS)
      if (this.#sum('done') > done) [done, since] = [this.#sum('done'), performance.now()]
      if (performance.now() - since < STUCK_MS) continue
      return this.#note(`nothing has gone well for ${STUCK_MS} ms`)
    }
  }

  #note(what: string): void {
    const sent = this.#crew.flatMap(({ name, role, sent: { messages, done } }) => {
      return role === 'sender' ? [`${name} has sent ${messages}, ${done} of them well`] : []
    })
    this.troubles.push([what, ...sent, ...[...this.#underWay].map((fault) => `not over: ${fault}`)].join('; '))
  }

  #sum(key: 'messages' | 'done'): number {
    return this.#crew.reduce((all, { sent }) => all + sent[key], 0)
  }
}
