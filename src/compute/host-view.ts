import { isDeepStrictEqual } from 'node:util'
import type { Logger } from 'pino'
import { GuestNotFound } from '../errors.ts'
import { MEM_ENCRYPTION_MODELS } from '../objects/mem-encryption.ts'
import { canRun, type HostCapabilities } from './libvirt/host-capabilities.ts'
import { type EncryptedGuest, withoutLostModels } from './libvirt/lost-models.ts'
import { modelOf } from './libvirt/model-of.ts'
import { limitSlots, type SlotLimits } from './libvirt/slot-limits.ts'
import type { VirtDriver } from './virt-driver.ts'

export interface HostViewOptions {
  readonly driver: VirtDriver
  readonly limits: SlotLimits
  readonly logger: Logger
}

/**
 * What of the host's abilities is offered: as it is now, within the operator's limits, and nothing of encryption while
 * guests here need what the host has lost. Says in the log what changed, and what is missing and how to get it, once.
 */
export class HostView {
  readonly #options: HostViewOptions
  #detected: HostCapabilities | undefined
  /** Of the host as it was detected last. */
  #guests: readonly EncryptedGuest[] = []
  #said:
    | { readonly offers: unknown; readonly warnings: ReadonlySet<string>; readonly stranded: readonly EncryptedGuest[] }
    | undefined

  constructor(options: HostViewOptions) {
    this.#options = options
  }

  /** Asks the host anew. */
  async look(signal: AbortSignal): Promise<HostCapabilities> {
    const { driver, limits } = this.#options
    const detected = await driver.capabilities(signal)
    // A guest whose model is missing cannot have come since: who is here is looked at when the host has changed.
    if (!isDeepStrictEqual(detected, this.#detected) || this.#guests.length > 0) {
      this.#guests = await this.#guestsOfMissingModels(detected, signal)
    }
    this.#detected = detected
    const { capabilities, warnings } = limitSlots(detected, limits)
    const view = withoutLostModels(capabilities, this.#guests)
    this.#say(view.capabilities, warnings, view.stranded)
    return view.capabilities
  }

  async #guestsOfMissingModels(detected: HostCapabilities, signal: AbortSignal): Promise<readonly EncryptedGuest[]> {
    const { driver } = this.#options
    if (Object.keys(detected.missing).length === 0) return []
    const found: EncryptedGuest[] = []
    for (const { uuid } of await driver.guests(signal)) {
      // One that has gone meanwhile needs nothing.
      const xml = await driver.domainXml(uuid, signal).catch((error: unknown) => {
        if (error instanceof GuestNotFound) return undefined
        throw error
      })
      const model = xml === undefined ? undefined : modelOf(xml)
      if (model !== undefined && !canRun(detected, model)) found.push({ uuid, model })
    }
    return found
  }

  #say({ slots, missing }: HostCapabilities, warnings: readonly string[], stranded: readonly EncryptedGuest[]): void {
    const { logger } = this.#options
    const before = this.#said
    const offers = { slots, missing }
    this.#said = { offers, warnings: new Set(warnings), stranded }
    if (!isDeepStrictEqual(offers, before?.offers)) {
      logger.info(offers, before === undefined ? 'the host offers' : 'the host has changed, and offers now')
    }
    for (const warning of warnings) if (!before?.warnings.has(warning)) logger.warn(warning)
    this.#sayStranded(before?.stranded ?? [], stranded, slots)
  }

  #sayStranded(
    before: readonly EncryptedGuest[],
    stranded: readonly EncryptedGuest[],
    slots: HostCapabilities['slots'],
  ): void {
    const { logger } = this.#options
    const names = namesOf(stranded)
    if (isDeepStrictEqual(names, namesOf(before))) return
    if (names.length === 0) {
      const isBack = before.every(({ model }) => slots[model] !== undefined)
      logger.info(
        isBack
          ? 'the host has again what its encrypted guests need'
          : 'no guest here needs what the host lacks any more',
      )
      return
    }
    const models = [...new Set(stranded.map(({ model }) => MEM_ENCRYPTION_MODELS[model].label))]
    const fix = 'turn it on again, or move or delete these instances'
    logger.error({ instances: names, models, fix }, 'the host has lost what its guests need; it offers no slots')
  }
}

function namesOf(guests: readonly EncryptedGuest[]): readonly string[] {
  return guests.map(({ uuid }) => uuid).toSorted()
}
