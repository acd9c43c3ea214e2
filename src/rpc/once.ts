import { RecentIds } from './recent-ids.ts'

/** Lets work of one id be done once, although its message came twice: sent again, or delivered again. */
export class Once {
  readonly #done = new RecentIds()
  readonly #running = new Map<string, Promise<unknown>>()

  /**
   * Runs the work unless it was done; while the same runs already, waits for its outcome first.
   *
   * @param work tells whether it is done for good; if not, the next of its id runs it again
   * @returns `repeat` when there was nothing to do any more
   */
  async run(id: string | undefined, work: () => Promise<boolean>): Promise<'ran' | 'repeat'> {
    if (id === undefined) {
      await work()
      return 'ran'
    }
    for (let same = this.#running.get(id); same !== undefined; same = this.#running.get(id)) {
      await same.catch(() => {})
    }
    if (this.#done.has(id)) return 'repeat'
    const running = work()
    this.#running.set(id, running)
    try {
      if (await running) this.#done.add(id)
    } finally {
      this.#running.delete(id)
    }
    return 'ran'
  }
}
