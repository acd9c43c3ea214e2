import { EncryptionNotEffective } from '../errors.ts'
import type { InstanceState } from '../objects/instance.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel, policyHex } from '../objects/mem-encryption.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { tookOver } from './builds-and-terminations.ts'
import type { ComputePorts, StopSignals } from './compute-ports.ts'
import type { InstanceLanes } from './instance-lanes.ts'
import { verifyEncryption } from './prove-encryption.ts'

interface UnprovenOptions {
  readonly lanes: InstanceLanes
  readonly signals: StopSignals
  /** Is anything done to the instance here, or about to be? Whoever starts its guest has it proven. */
  readonly isBusy: (uuid: string) => boolean
}

/**
 * Guests that run by the start of somebody else: by `virsh start`, perhaps with a document that was edited before, or by an earlier
 * worker. They prove their encryption as any other. One that is not encrypted is taken down; one that cannot be asked goes on.
 */
export class UnprovenGuests {
  readonly #ports: ComputePorts
  readonly #options: UnprovenOptions

  constructor(ports: ComputePorts, options: UnprovenOptions) {
    this.#ports = ports
    this.#options = options
  }

  /**
   * @returns whether it is proven, or has nothing to prove
   * @throws why it could not be asked, or taken down
   */
  async prove({ uuid, model }: Pick<InstanceState, 'uuid' | 'model'>, signal: AbortSignal): Promise<boolean> {
    const { driver, proven } = this.#ports
    const { lanes, isBusy } = this.#options
    if (model === null) {
      proven.noteInClear(uuid)
      return true
    }
    const domainId = await driver.domainId(uuid, signal)
    if (proven.has(uuid, domainId)) return true
    if (domainId === undefined || isBusy(uuid)) return false
    const started = { uuid, model, domainId }
    return await new Promise<boolean>((resolve, reject) => {
      const work = (interrupted: AbortSignal) => {
        const either = AbortSignal.any([signal, interrupted, this.#options.signals.stopping])
        // Newer work has it proven by itself.
        const over = (error: unknown) => (interrupted.aborted ? resolve(false) : reject(error))
        return this.#prove(started, either).then(resolve, over)
      }
      lanes.run(uuid, work, tookOver(uuid))
    })
  }

  async #prove({ uuid, model, domainId }: Started, signal: AbortSignal): Promise<boolean> {
    const { driver, logger, tellException } = this.#ports
    try {
      const policy = policyHex(MEM_ENCRYPTION_MODELS[model])
      await verifyEncryption(uuid, { model, policy }, this.#ports, signal)
      return true
    } catch (error) {
      if (!(error instanceof EncryptionNotEffective)) throw error
      // What has ended meanwhile has nothing to say of itself, and what was started since is asked by itself.
      if ((await driver.domainId(uuid, signal)) !== domainId) return false
      // Tried again by whoever asks for the proof, who has other guests to ask besides.
      await driver.powerOff(uuid)
      const context = newRequestContext()
      const facts = { instance_uuid: uuid, code: error.code, ...error.details, request_id: context.request_id }
      logger.error(facts, `guest ${uuid} was started by somebody else: ${error.message}`)
      await tellException(error, 'sync_power_states', context)
      return false
    }
  }
}

interface Started {
  readonly uuid: string
  readonly model: MemEncryptionModel
  /** Of this start. */
  readonly domainId: number
}
