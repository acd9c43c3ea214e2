import { setTimeout as sleep } from 'node:timers/promises'
import { ConductorApi } from '../../conductor/rpc-api.ts'
import { type SevbusError, toSevbusError } from '../../errors.ts'
import { correctionOf, type SeenGuestState } from '../../objects/guest-deviation.ts'
import { Limiter } from '../../rpc/limiter.ts'
import { newRequestContext } from '../../rpc/request-context.ts'
import type { ComputePorts } from '../compute-ports.ts'
import { type Belief, beliefsOf } from './beliefs.ts'
import { DueLooks } from './due-looks.ts'
import { type SeenGuests, seenGuests } from './seen-guests.ts'

type Ports = Pick<ComputePorts, 'host' | 'driver' | 'journal' | 'client' | 'logger' | 'proven'>

export interface GuestWatchOptions extends Ports {
  /** Something is done to the instance here: its guest is not looked at meanwhile. */
  readonly isBusy: (uuid: string) => boolean
  /** Has a guest prove its encryption, or takes it down. @returns whether it is proven */
  readonly prove: (guest: Pick<Belief, 'uuid' | 'model'>, signal: AbortSignal) => Promise<boolean>
  /** Is this worker the one of its host? */
  readonly isServing: () => boolean
  /** How often all guests are looked at, in milliseconds; 0: only when libvirt may have lost events. */
  readonly intervalMs: number
  /** After a change, and between two looks at the same guest, in milliseconds. */
  readonly settleMs?: number | undefined
  /** What ran when the host went down is to run again. `done` is called once that has been told. */
  readonly resume?: { readonly done: () => Promise<void> } | undefined
}

/** Longer than somebody takes who only restarts a guest by hand. */
const SETTLE_MS = 1000
/** As many as a report may have. */
const MOST_AT_ONCE = 1000
/** One that is at something else lets itself wait for half a minute. */
const PROOFS_AT_ONCE = 8

/**
 * Sees what happens to guests behind our back, and tells the conductor, which lets the instances follow: by the events of
 * the hypervisor, and by a look at all guests now and then, as Nova's `_sync_power_states`. A guest must be seen twice doing
 * the same wrong thing. Guests that something is done to are left to who does it. Nothing is
 * ever done to a guest here, but that one which runs by somebody else's start has to prove its encryption (`UnprovenGuests`).
 */
export class GuestWatch {
  readonly #options: GuestWatchOptions
  readonly #settleMs: number
  readonly #due: DueLooks
  readonly #stop = new AbortController()
  #running: Promise<unknown> | undefined
  /** By guest what it did when it was seen first. */
  readonly #deviating = new Map<string, SeenGuestState>()
  /** Instances of this host by the word of the conductor at the last look at all, of which our journal, which may be lost, knows nothing. */
  #unrecorded: ReadonlySet<string> = new Set()
  /** Guests that were told of in the log. */
  readonly #told = new Set<string>()
  /** Guests that could not be asked for their encryption, or not be taken down, and are asked again. */
  readonly #unasked = new Set<string>()
  #lastFailure: string | undefined
  /** Guests that did not run at the first look after the host has booted, and should. */
  #toResume: Set<string> | undefined
  #isResumed = false

  constructor(options: GuestWatchOptions) {
    this.#options = options
    this.#settleMs = options.settleMs ?? SETTLE_MS
    this.#due = new DueLooks({ settleMs: this.#settleMs, intervalMs: options.intervalMs })
  }

  /** Never rejects: it goes on until it is closed. */
  start(): void {
    this.#running ??= Promise.all([this.#listen(), this.#look()])
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #listen(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      try {
        for await (const change of this.#options.driver.changes(signal)) {
          if ('uuid' in change) this.#due.guest(change.uuid)
          else {
            this.#options.proven.forgetDomains()
            this.#due.all()
          }
        }
      } catch (error) {
        if (!signal.aborted) this.#noteFailure(toSevbusError(error))
      }
      await sleep(this.#settleMs, undefined, { signal }).catch(() => {})
    }
  }

  async #look(): Promise<void> {
    const { signal } = this.#stop
    while (!signal.aborted) {
      await this.#due.next(signal)
      const looks = this.#due.take()
      try {
        // Another worker has the guests.
        if (this.#options.isServing()) await this.#lookAt(looks, signal)
        else this.#due.again(looks)
        this.#lastFailure = undefined
      } catch (error) {
        if (signal.aborted) return
        this.#noteFailure(toSevbusError(error))
        this.#due.again(looks)
      }
    }
  }

  async #lookAt(looks: 'all' | readonly string[], signal: AbortSignal): Promise<void> {
    const { driver } = this.#options
    const asked = looks === 'all' ? undefined : await this.#inQuestion(looks, signal)
    if (asked?.length === 0) return
    // Before the guests: what is done to an instance from now on is known by its number.
    const beliefs = await beliefsOf(this.#options, asked, signal)
    const guests = await seenGuests(driver, asked, signal)
    if (asked === undefined) {
      this.#options.proven.keepOnly(guests.uuids)
      this.#unrecorded = new Set(beliefs.flatMap(({ uuid }) => (this.#options.journal.known(uuid) ? [] : [uuid])))
    }
    const unproven = await this.#unproven(beliefs, guests, signal)
    const wrong = beliefs.filter((belief) => this.#isWrongAgain(belief, guests))
    for (const uuid of unproven) this.#due.later(uuid)
    if (asked === undefined) {
      this.#tellOfStrangers(guests, beliefs)
      this.#toResume ??= new Set(this.#options.resume && this.#deviating.keys())
    }
    if (wrong.length > 0) await this.#report(wrong, guests, signal)
    await this.#noteResumed()
  }

  /** Those of ours that nothing is done to, and that do not just run as they were built. */
  async #inQuestion(uuids: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
    const { isBusy, journal, driver, proven } = this.#options
    const ours = uuids.filter((uuid) => {
      const known = journal.known(uuid)
      const isOurs = known === undefined ? this.#unrecorded.has(uuid) : known.terminated === undefined
      if (!isOurs) this.#forgetGone(uuid)
      else if (isBusy(uuid)) this.#due.later(uuid)
      else return true
      return false
    })
    const built = ours.filter((uuid) => this.#isJustBuilt(uuid))
    const seen = await seenGuests(driver, built, signal)
    const running = built.filter((uuid) => seen.stateOf(uuid) === 'running')
    const ids = await Promise.all(running.map((uuid) => driver.domainId(uuid, signal)))
    const asBuilt = new Set(running.filter((uuid, n) => proven.isInClear(uuid) || proven.has(uuid, ids[n])))
    for (const uuid of asBuilt) this.#forget(uuid)
    return ours.filter((uuid) => !asBuilt.has(uuid))
  }

  /** Nothing was done to it since, and it was not seen doing anything else. */
  #isJustBuilt(uuid: string): boolean {
    const { journal } = this.#options
    const isAsBuilt = journal.known(uuid)?.outcome === 'active' && journal.endedAction(uuid) === undefined
    return isAsBuilt && !this.#deviating.has(uuid)
  }

  /** Of those that run, whatever their instances are to do: they prove their encryption, or are taken down. */
  async #unproven(beliefs: readonly Belief[], guests: SeenGuests, signal: AbortSignal): Promise<readonly string[]> {
    const limiter = new Limiter(PROOFS_AT_ONCE)
    const on = beliefs.filter(({ uuid }) => ['running', 'paused'].includes(guests.stateOf(uuid)))
    const isProven = await Promise.all(on.map((belief) => limiter.run(() => this.#isProven(belief, signal))))
    return on.filter((_, n) => !isProven[n]).map(({ uuid }) => uuid)
  }

  /** One that does not answer, or lets itself not be taken down, keeps nobody from asking the others. */
  async #isProven(belief: Belief, signal: AbortSignal): Promise<boolean> {
    const { uuid } = belief
    try {
      const isProven = !this.#isHere(belief) || (await this.#options.prove(belief, signal))
      this.#unasked.delete(uuid)
      return isProven
    } catch (thrown) {
      const { isOutage, code, message } = toSevbusError(thrown)
      if (signal.aborted || isOutage) throw thrown
      const facts = { instance_uuid: uuid, code }
      const words = `guest ${uuid} is not proven to run encrypted, and goes on: ${message}`
      if (!this.#unasked.has(uuid)) this.#options.logger.error(facts, words)
      this.#unasked.add(uuid)
      return false
    }
  }

  /** Else, of another host or try, whatever is here is on its way out. */
  #isHere({ uuid, host, attempt }: Belief): boolean {
    const known = this.#options.journal.known(uuid)
    return host === this.#options.host && (known === undefined || known.attempt === attempt)
  }

  /** Sees each guest that does something wrong for the first time, and says so the second time. */
  #isWrongAgain(belief: Belief, guests: SeenGuests): boolean {
    const { uuid, vm_state, task_state } = belief
    if (!this.#isHere(belief)) return this.#forget(uuid)
    if (task_state !== null || this.#options.isBusy(uuid)) {
      this.#deviating.delete(uuid)
      this.#due.later(uuid)
      return false
    }
    const state = guests.stateOf(uuid)
    const correction = correctionOf(vm_state, state)
    if (correction === undefined) return this.#forget(uuid)
    if (correction === 'told') {
      this.#due.settled(uuid)
      this.#tellOnce(uuid, `instance ${uuid} is ${vm_state}, but its guest is ${state}: it is left alone`)
      return false
    }
    this.#due.later(uuid)
    const isAgain = this.#deviating.get(uuid) === state
    this.#deviating.set(uuid, state)
    return isAgain
  }

  /** It does what it should, or is not ours; should it do something wrong, that is news. */
  #forget(uuid: string): false {
    this.#due.settled(uuid)
    this.#deviating.delete(uuid)
    this.#told.delete(uuid)
    return false
  }

  #forgetGone(uuid: string): void {
    this.#forget(uuid)
    this.#unasked.delete(uuid)
    this.#options.proven.forget(uuid)
  }

  async #report(wrong: readonly Belief[], guests: SeenGuests, signal: AbortSignal): Promise<void> {
    const { host, client, logger } = this.#options
    const context = newRequestContext()
    const seen = wrong.map(({ uuid, attempt, last_action, vm_state }) => {
      const state = guests.stateOf(uuid)
      const facts = { instance_uuid: uuid, vm_state, guest: state, request_id: context.request_id }
      logger.warn(facts, `instance ${uuid} is ${vm_state}, but its guest is ${state}: the conductor is told`)
      const resume = this.#toResume?.has(uuid) ?? false
      return { instance_uuid: uuid, attempt, last_action, state, ...(resume && { resume }) }
    })
    for (let from = 0; from < seen.length; from += MOST_AT_ONCE) {
      const guests = seen.slice(from, from + MOST_AT_ONCE)
      await client.of(ConductorApi).reportGuestStates(context, { host, guests }, { signal })
      for (const { instance_uuid } of guests) this.#deviating.delete(instance_uuid)
    }
  }

  /** Once all that did not run at the first look was told, or runs. */
  async #noteResumed(): Promise<void> {
    const { resume } = this.#options
    if (this.#isResumed || this.#toResume === undefined) return
    for (const uuid of this.#toResume) if (!this.#deviating.has(uuid)) this.#toResume.delete(uuid)
    if (this.#toResume.size > 0) return
    this.#isResumed = true
    await resume?.done()
  }

  /** Guests that are nobody's here are never touched; `sevbus audit` says what could be done about them. */
  #tellOfStrangers(guests: SeenGuests, beliefs: readonly Belief[]): void {
    const { journal } = this.#options
    const ours = new Set(beliefs.map(({ uuid }) => uuid))
    for (const uuid of guests.uuids) {
      const { terminated } = journal.known(uuid) ?? { terminated: true }
      if (ours.has(uuid) || terminated === undefined) continue
      this.#tellOnce(uuid, `a guest ${uuid} is here that no instance of this host has: it is left alone`)
    }
  }

  #tellOnce(uuid: string, what: string): void {
    if (this.#told.has(uuid)) return
    this.#told.add(uuid)
    this.#options.logger.warn({ guest: uuid }, what)
  }

  /** Once for each kind: an hour without a conductor is one line. */
  #noteFailure({ code, message }: SevbusError): void {
    if (code === this.#lastFailure) return
    this.#lastFailure = code
    this.#options.logger.warn({ code }, `guests cannot be held against their instances now: ${message}`)
  }
}
