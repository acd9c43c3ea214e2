import type { Logger } from 'pino'
import { type SevbusError, toSevbusError } from '../errors.ts'
import type { HypervisorSilence } from '../objects/host-report.ts'
import { cleanText } from '../objects/text.ts'
import { endedWithin } from '../rpc/abortable.ts'
import type { HostView } from './host-view.ts'
import type { KnownHost, LastLook } from './last-look.ts'
import type { VirtDriver } from './virt-driver.ts'

export interface HypervisorWatchOptions {
  readonly host: string
  readonly driver: Pick<VirtDriver, 'description' | 'resources'>
  readonly view: Pick<HostView, 'look'>
  readonly logger: Logger
  /** How long a look may keep its caller waiting, where something is known already. */
  readonly waitMs: number
  /** It answers again, after a silence that was told. */
  readonly onAnswer: () => void
  /** From when on no answer is a silence. */
  readonly silentAfterMs: number
  /** Milliseconds, by a clock that never jumps. */
  readonly now: () => number
  /** What was known before the worker was restarted. */
  readonly lastLook?: Pick<LastLook, 'recall' | 'keep'> | undefined
  /** What this machine's clock shows; only told. */
  readonly clock?: () => Date
}

/** What is known of the host. */
export interface HostLook extends KnownHost {
  /** The hypervisor says nothing: the rest is what it said last. */
  readonly silence?: HypervisorSilence | undefined
}

/** Longer than a hypervisor takes to answer while many guests start at a time; shorter than anybody waits for a boot. */
export const SILENT_AFTER_MS = 10_000
/** As long as a report may tell. */
const MAX_REASON = 500

/**
 * Asks the hypervisor about its host, and does not depend on its answer: one that hangs, or is away, must not make the
 * host look dead, for its guests run on, and would be started a second time elsewhere. While it is silent the host is told
 * as it was last, with since when and why, and there is never more than one question to it under way.
 */
export class HypervisorWatch {
  readonly #options: HypervisorWatchOptions
  readonly #clock: () => Date
  #asking: Promise<void> | undefined
  #asked = { at: new Date(0), ms: 0 }
  #last: KnownHost | undefined
  /** Nobody has heard the hypervisor say it since the worker has started. */
  #isRecalled = false
  #failure: SevbusError | undefined
  #silence: HypervisorSilence | undefined

  constructor(options: HypervisorWatchOptions) {
    this.#options = options
    this.#clock = options.clock ?? (() => new Date())
  }

  /** Since when and why nothing new is known of the host; undefined: it answers. */
  get trouble(): string | undefined {
    return (
      this.#silence &&
      `${this.#options.driver.description} does not answer since ${this.#silence.since}: ${this.#silence.reason}`
    )
  }

  /**
   * The host as it is, or as it was when that takes too long.
   *
   * @throws why nothing is known of it yet
   */
  async look(signal: AbortSignal): Promise<HostLook> {
    this.#asking ??= this.#ask(signal)
    const asking = this.#asking
    await this.#recall()
    // Without anything to tell instead there is nothing to do but wait.
    if (this.#last === undefined) await asking
    else await endedWithin(this.#options.waitMs, asking)
    signal.throwIfAborted()
    if (this.#last === undefined)
      throw this.#failure ?? new Error('the hypervisor was asked and neither answered nor failed')
    if (this.#isRecalled) this.#noteSilence(this.#failure?.message ?? 'no answer since this worker has started')
    else if (this.#asking === asking) this.#noteWaiting()
    return { ...this.#last, silence: this.#silence }
  }

  async #recall(): Promise<void> {
    if (this.#last !== undefined) return
    const recalled = await this.#options.lastLook?.recall()
    // It may have answered meanwhile.
    if (this.#last !== undefined || recalled === undefined) return
    this.#last = recalled
    this.#isRecalled = true
  }

  /** Without it a restart only waits for the hypervisor. */
  async #keep(look: KnownHost): Promise<void> {
    await this.#options.lastLook?.keep(look).catch((err: unknown) => {
      this.#options.logger.warn({ err }, 'what is known of the host cannot be kept for a restart')
    })
  }

  /** Never rejects. */
  async #ask(signal: AbortSignal): Promise<void> {
    const { view, driver, now } = this.#options
    this.#asked = { at: this.#clock(), ms: now() }
    try {
      const [capabilities, resources] = await Promise.all([view.look(signal), driver.resources(signal)])
      this.#last = { capabilities, resources }
      this.#isRecalled = false
      this.#noteAnswer()
      await this.#keep(this.#last)
    } catch (thrown) {
      this.#failure = toSevbusError(thrown)
      if (!signal.aborted) this.#noteSilence(this.#failure.message)
    } finally {
      this.#asking = undefined
    }
  }

  #noteWaiting(): void {
    const { silentAfterMs, now } = this.#options
    const waitedMs = now() - this.#asked.ms
    if (waitedMs >= silentAfterMs) this.#noteSilence(`no answer to a question for more than ${silentAfterMs / 1000} s`)
  }

  /** The first reason stays: a report with another one would be news. */
  #noteSilence(reason: string): void {
    const { host, logger } = this.#options
    if (this.#silence !== undefined || this.#last === undefined) return
    this.#silence = { since: this.#asked.at.toISOString(), reason: cleanText(reason, MAX_REASON) }
    logger.warn(
      { host, ...this.#silence },
      `${this.#options.driver.description} does not answer: no new guests come here`,
    )
  }

  #noteAnswer(): void {
    const { host, logger, onAnswer } = this.#options
    if (this.#silence === undefined) return
    logger.info({ host, since: this.#silence.since }, `${this.#options.driver.description} answers again`)
    this.#silence = undefined
    onAnswer()
  }
}
