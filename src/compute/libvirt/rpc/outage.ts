import type { SevbusError } from '../../../errors.ts'

export interface OutageOptions {
  /** A connection was lost or cannot be opened, the first of several; later another reason why, if that lasts. */
  readonly onTrouble: (trouble: SevbusError) => void
  /** All of them stand again. */
  readonly onEnd: () => void
  /** A change of the reason is not told sooner: a daemon that starts anew closes, refuses and is not there in turn. */
  readonly patienceMs: number
  readonly now: () => number
}

/** Makes one story of what all connections to one daemon tell when it is away. */
export class Outage {
  readonly #options: OutageOptions
  readonly #lost = new Set<object>()
  #told: { readonly message: string; readonly atMs: number } | undefined

  constructor(options: OutageOptions) {
    this.#options = options
  }

  lost(line: object, trouble: SevbusError): void {
    const { onTrouble, patienceMs, now } = this.#options
    this.#lost.add(line)
    const { message } = trouble
    const isNews = this.#told === undefined || (message !== this.#told.message && now() - this.#told.atMs >= patienceMs)
    if (!isNews) return
    this.#told = { message, atMs: now() }
    onTrouble(trouble)
  }

  back(line: object): void {
    this.#lost.delete(line)
    if (this.#told === undefined || this.#lost.size > 0) return
    this.#told = undefined
    this.#options.onEnd()
  }
}
