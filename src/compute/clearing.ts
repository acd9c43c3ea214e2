import { type BuildsAndTerminations, tookOver } from './builds-and-terminations.ts'
import type { ComputePorts, StopSignals } from './compute-ports.ts'
import { departures } from './departures.ts'
import type { InstanceLanes } from './instance-lanes.ts'
import { isStray, type Stray, stillNeeded, strayDisks } from './stray-disks.ts'

interface ClearingOptions {
  readonly lanes: InstanceLanes
  readonly signals: StopSignals
  readonly work: Pick<BuildsAndTerminations, 'terminate'>
  /** Is anything done to the instance here, or about to be? */
  readonly isBusy: (uuid: string) => boolean
}

/** Rids the host of what is here of instances that are not, by the word of a conductor. */
export class Clearing {
  readonly #ports: ComputePorts
  readonly #options: ClearingOptions
  #departing: Promise<void> | undefined

  constructor(ports: ComputePorts, options: ClearingOptions) {
    this.#ports = ports
    this.#options = options
  }

  /** Of guests that have departed, as far as that is under way. */
  get ended(): Promise<void> {
    return this.#departing ?? Promise.resolve()
  }

  /**
   * Removes the guests of instances that were evacuated while this host was away: asks for them until a conductor answers,
   * and never throws. What is done with such a guest later waits for its removal.
   */
  removeDeparted(): Promise<void> {
    this.#departing = this.ended
      .then(() => this.#removeDeparted())
      .catch((err: unknown) => {
        if (this.#options.signals.draining.aborted) return
        this.#ports.logger.error({ err }, 'what was evacuated from here is not known')
      })
    return this.#departing
  }

  async #removeDeparted(): Promise<void> {
    const { work, signals } = this.#options
    for await (const { instance, migration_uuid, context } of departures(this.#ports, signals.draining)) {
      signals.draining.throwIfAborted()
      const { uuid, attempt } = instance
      const facts = { instance_uuid: uuid, attempt, migration: migration_uuid, request_id: context.request_id }
      this.#ports.logger.info(facts, 'evacuated meanwhile: its guest is removed')
      await work.terminate({ instance, void: true, migration_uuid }, context)
    }
  }

  /**
   * Removes the disks of instances that live elsewhere, or nowhere, and what moves that are over have set aside: once, after the
   * worker has begun to serve. Never throws; what cannot be removed is left to the next start.
   */
  async removeStrays(): Promise<void> {
    const { lanes, signals, isBusy } = this.#options
    try {
      for (const stray of await strayDisks(this.#ports, signals.draining)) {
        const { uuid } = stray
        if (!isBusy(uuid)) lanes.run(uuid, () => this.#removeStray(stray), tookOver(uuid))
      }
    } catch (err) {
      if (!signals.draining.aborted) this.#ports.logger.error({ err }, 'whose disks are here is not known')
    }
  }

  /** Of this instance, when they are asked for. @throws InstanceInvalidState when somebody may need them */
  async removeStraysOf(uuid: string, signal: AbortSignal): Promise<void> {
    const { driver, host } = this.#ports
    const { lanes, isBusy } = this.#options
    if (!(await driver.diskFolders(signal)).some((folder) => folder.uuid === uuid)) return
    const [stray] = await strayDisks(this.#ports, signal, uuid)
    if (stray === undefined || isBusy(uuid)) throw stillNeeded(uuid, host)
    await new Promise<void>((resolve, reject) => {
      lanes.run(uuid, () => this.#removeStray(stray).then(resolve, reject), tookOver(uuid))
    })
  }

  async #removeStray(stray: Stray): Promise<void> {
    const { driver, logger } = this.#ports
    const { uuid, part } = stray
    if (!(await isStray(this.#ports, stray, this.#options.signals.stopping))) return
    const why = part === 'all' ? 'its instance is not here' : 'the move that has set its disks aside is over'
    logger.info({ instance_uuid: uuid }, `${why}: what is left of it is removed`)
    if (part === 'all') {
      // Once: a domain that is not ours is left alone, with what it has.
      await driver.destroy(uuid)
      await driver.removeDisks(uuid)
    }
    await driver.removeDisksAside(uuid)
  }
}
