import type { RunningCloud } from '../../support/running-cloud.ts'

/** Instances that nobody has done anything to yet: each is taken for one thing, so that what became of it is known to be of that. */
export class FreeInstances {
  readonly #cloud: RunningCloud
  readonly #taken = new Set<string>()

  constructor(cloud: RunningCloud) {
    this.#cloud = cloud
  }

  /** @throws while none is active and free */
  async take(): Promise<string> {
    const rows = await this.#cloud.database.query<{ uuid: string }>(
      `select uuid from instances where vm_state = 'active' and task_state is null order by position`,
    )
    const free = rows.find(({ uuid }) => !this.#taken.has(uuid))
    if (free === undefined) throw new Error('no instance is active, and free')
    this.#taken.add(free.uuid)
    return free.uuid
  }

  /** @throws while something is done to it */
  async restsAs(uuid: string): Promise<string | undefined> {
    const [row] = await this.#cloud.database.query<{ vm_state: string; task_state: string | null }>(
      'select vm_state, task_state from instances where uuid = $1',
      [uuid],
    )
    if (row?.task_state) throw new Error(`${uuid} is ${row.vm_state} (${row.task_state})`)
    return row?.vm_state
  }
}
