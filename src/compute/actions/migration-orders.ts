import { setTimeout as sleep } from 'node:timers/promises'
import type { MigrationOrder } from '../../objects/instance-action.ts'
import type { ComputePorts } from '../compute-ports.ts'

/** How often a hypervisor is told again, in milliseconds: its migration may only be about to begin. */
const TELL_AGAIN_MS = 100

/** What somebody wants of live migrations that are under way: told to the hypervisor until each of them is over. */
export class MigrationOrders {
  readonly #ports: ComputePorts
  readonly #stopping: AbortSignal
  readonly #telling = new Set<string>()

  constructor(ports: ComputePorts, stopping: AbortSignal) {
    this.#ports = ports
    this.#stopping = stopping
  }

  /** Takes up what an earlier worker was told. */
  recover(): void {
    for (const { instance, number, orders = [] } of this.#ports.journal.actions()) {
      for (const order of orders) this.#tell(instance.uuid, number, order)
    }
  }

  /** Accepted once written to the journal; of a migration that is over it is nothing. */
  async take(uuid: string, number: number, order: MigrationOrder): Promise<null> {
    const { journal } = this.#ports
    const begun = journal.action(uuid)
    if (begun?.number !== number || begun.action.name !== 'live_migration') {
      await journal.flushed()
      return null
    }
    await journal.append([{ type: 'migration_ordered', uuid, number, order }])
    this.#tell(uuid, number, order)
    return null
  }

  #tell(uuid: string, number: number, order: MigrationOrder): void {
    const key = `${uuid}/${number}/${order}`
    if (this.#telling.has(key)) return
    this.#telling.add(key)
    void this.#tellUntilOver(uuid, number, order).finally(() => this.#telling.delete(key))
  }

  async #tellUntilOver(uuid: string, number: number, order: MigrationOrder): Promise<void> {
    const { driver, journal, logger } = this.#ports
    const isUnderWay = () => journal.action(uuid)?.number === number && !this.#stopping.aborted
    let lastCode: unknown
    while (isUnderWay()) {
      try {
        if (order === 'abort') await driver.abortLiveMigration(uuid, this.#stopping)
        else if (await driver.completeLiveMigration(uuid, this.#stopping)) return
      } catch (err) {
        const { code } = err as { code?: unknown }
        if (!this.#stopping.aborted && code !== lastCode) logger.warn({ instance_uuid: uuid, order, err }, 'told again')
        lastCode = code
      }
      await sleep(TELL_AGAIN_MS, undefined, { signal: this.#stopping }).catch(() => {})
    }
  }
}
