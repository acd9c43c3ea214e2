import { setTimeout as sleep } from 'node:timers/promises'
import { newRequestContext, type SevbusClient } from '../../../src/client.ts'
import type { RunningCloud } from '../../support/running-cloud.ts'
import { waitFor } from '../../support/wait-for.ts'
import type { Move } from './plan.ts'

const context = newRequestContext({ project_id: 'p', user_id: 'u' })
/** Who is killed does not answer. */
const PATIENCE = { timeoutMs: 10_000 }
const SOON = { timeoutMs: 120_000, intervalMs: 200 }

/** Resizes and cold migrations, each from the question to the decision, however often somebody dies on the way. */
export class Moves {
  readonly #cloud: RunningCloud
  readonly #client: SevbusClient
  /** One move each, so that what is decided is what was asked for. */
  readonly #taken = new Set<string>()
  readonly #going: Promise<void>[] = []

  constructor(cloud: RunningCloud, client: SevbusClient) {
    this.#cloud = cloud
    this.#client = client
  }

  /** Begins one, and does not wait for its end: storms go on meanwhile. */
  begin(move: Move): void {
    this.#going.push(this.#make(move))
  }

  /** Of those that have begun. @returns a line for each that has not come to an end */
  async ended(): Promise<readonly string[]> {
    const ends = await Promise.allSettled(this.#going.splice(0))
    return ends.flatMap((end) => (end.status === 'rejected' ? [`a move has no end: ${end.reason}`] : []))
  }

  async #make({ flavor, decision, afterMs }: Move): Promise<void> {
    await sleep(afterMs)
    const uuid = await waitFor(() => this.#take(), SOON)
    const asked = { instance_uuid: uuid }
    const { conductor } = this.#client
    // An answer may be lost, or a refusal come because it is gone, or busy: what counts is what became of it.
    await (flavor === undefined
      ? conductor.migrateInstance(context, asked, PATIENCE)
      : conductor.resizeInstance(context, { ...asked, flavor }, PATIENCE)
    ).catch(() => {})
    await waitFor(async () => {
      if ((await this.#restsAs(uuid)) !== 'resized') return
      await (decision === 'confirm' ? conductor.confirmResize : conductor.revertResize)(context, asked, PATIENCE).catch(
        () => {},
      )
      throw new Error(`${uuid} is resized, and was asked to ${decision}`)
    }, SOON)
  }

  /** One that is active, and is taken by that. */
  async #take(): Promise<string> {
    const rows = await this.#cloud.database.query<{ uuid: string }>(
      `select uuid from instances where vm_state = 'active' and task_state is null order by position`,
    )
    const free = rows.find(({ uuid }) => !this.#taken.has(uuid))
    if (free === undefined) throw new Error('no instance is active, and not moved yet')
    this.#taken.add(free.uuid)
    return free.uuid
  }

  /** @throws while something is done to it */
  async #restsAs(uuid: string): Promise<string | undefined> {
    const [row] = await this.#cloud.database.query<{ vm_state: string; task_state: string | null }>(
      'select vm_state, task_state from instances where uuid = $1',
      [uuid],
    )
    if (row?.task_state) throw new Error(`${uuid} is ${row.vm_state} (${row.task_state})`)
    return row?.vm_state
  }
}
