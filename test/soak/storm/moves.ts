import { setTimeout as sleep } from 'node:timers/promises'
import { newRequestContext, type SevbusClient } from '../../../src/client.ts'
import { waitFor } from '../../support/wait-for.ts'
import type { FreeInstances } from './free-instances.ts'
import type { Move, Shelving } from './plan.ts'

const context = newRequestContext({ project_id: 'p', user_id: 'u' })
/** Who is killed does not answer. */
const PATIENCE = { timeoutMs: 10_000 }
const SOON = { timeoutMs: 120_000, intervalMs: 200 }

/** Resizes, cold migrations and shelvings, each from the question to the decision, however often somebody dies on the way. */
export class Moves {
  readonly #free: FreeInstances
  readonly #client: SevbusClient
  readonly #going: Promise<void>[] = []

  constructor(free: FreeInstances, client: SevbusClient) {
    this.#free = free
    this.#client = client
  }

  /** Begins one, and does not wait for its end: storms go on meanwhile. */
  begin(move: Move | Shelving): void {
    this.#going.push('returns' in move ? this.#shelve(move) : this.#move(move))
  }

  /** Of those that have begun. @returns a line for each that has not come to an end */
  async ended(): Promise<readonly string[]> {
    const ends = await Promise.allSettled(this.#going.splice(0))
    return ends.flatMap((end) => (end.status === 'rejected' ? [`a move has no end: ${end.reason}`] : []))
  }

  async #move({ flavor, decision, afterMs }: Move): Promise<void> {
    const asked = await this.#take(afterMs)
    const { conductor } = this.#client
    // An answer may be lost, or a refusal come because it is gone, or busy: what counts is what became of it.
    await (flavor === undefined
      ? conductor.migrateInstance(context, asked, PATIENCE)
      : conductor.resizeInstance(context, { ...asked, flavor }, PATIENCE)
    ).catch(() => {})
    await this.#until(asked, 'resized', decision === 'confirm' ? conductor.confirmResize : conductor.revertResize)
  }

  async #shelve({ returns, afterMs }: Shelving): Promise<void> {
    const asked = await this.#take(afterMs)
    const { conductor } = this.#client
    await conductor.shelveInstance(context, { ...asked, clean_shutdown: false }, PATIENCE).catch(() => {})
    await waitFor(() => this.#free.restsAs(asked.instance_uuid), SOON)
    // Where no host has room it stays shelved, and that is right.
    if (returns) await conductor.unshelveInstance(context, asked, PATIENCE).catch(() => {})
    await waitFor(() => this.#free.restsAs(asked.instance_uuid), SOON)
  }

  async #take(afterMs: number): Promise<{ readonly instance_uuid: string }> {
    await sleep(afterMs)
    return { instance_uuid: await waitFor(() => this.#free.take(), SOON) }
  }

  /** Asked for again until it is over. */
  async #until(
    asked: { readonly instance_uuid: string },
    state: string,
    decide: SevbusClient['conductor']['confirmResize'],
  ): Promise<void> {
    await waitFor(async () => {
      if ((await this.#free.restsAs(asked.instance_uuid)) !== state) return
      await decide(context, asked, PATIENCE).catch(() => {})
      throw new Error(`${asked.instance_uuid} is ${state}, and was asked to become otherwise`)
    }, SOON)
  }
}
