import { ConductorApi } from '../../conductor/rpc-api.ts'
import { BuildAborted, ServiceStopping, type SevbusError, toSevbusError } from '../../errors.ts'
import { faultOf } from '../../objects/fault.ts'
import type { Instance } from '../../objects/instance.ts'
import type { ActionOutcome, InstanceAction, MigrationOrder } from '../../objects/instance-action.ts'
import type { DurableMessage } from '../../rpc/durable-message.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { type ComputePorts, type StopSignals, timestamp } from '../compute-ports.ts'
import type { InstanceLanes } from '../instance-lanes.ts'
import { queued } from '../journal/journal.ts'
import type { Action, EndedAction, KnownTry } from '../journal/state.ts'
import { isLate } from '../late.ts'
import { untilDone } from '../patience.ts'
import { isWanted } from './is-wanted.ts'
import { MigrationOrders } from './migration-orders.ts'
import { perform } from './perform.ts'

export interface AskedAction {
  readonly instance: Instance
  readonly number: number
  readonly action: InstanceAction
}

/** What is done to guests that are there, from begun to ended in the journal. One that newer work takes over has no end. */
export class Actions {
  readonly #ports: ComputePorts
  readonly #signals: StopSignals
  readonly #lanes: InstanceLanes
  readonly #orders: MigrationOrders

  constructor(ports: ComputePorts, signals: StopSignals, lanes: InstanceLanes) {
    this.#ports = ports
    this.#signals = signals
    this.#lanes = lanes
    this.#orders = new MigrationOrders(ports, signals.stopping)
  }

  /** After a start of the worker: what was begun is done again, from what the guest is like now. */
  recover(): void {
    for (const { instance, number } of this.#ports.journal.actions()) this.#run(instance.uuid, number)
    this.#orders.recover()
  }

  /** Of a live migration that is under way under this number. */
  order(uuid: string, number: number, order: MigrationOrder): Promise<null> {
    return this.#orders.take(uuid, number, order)
  }

  /** Asked again it does nothing twice; after its end it tells that once more. */
  async begin({ instance, number, action }: AskedAction, context: RequestContext): Promise<null> {
    if (this.#signals.draining.aborted) {
      throw new ServiceStopping('the worker is stopping and begins nothing more')
    }
    const { journal, logger } = this.#ports
    const { uuid, attempt } = instance
    const facts = { instance_uuid: uuid, attempt, action: action.name, number, request_id: context.request_id }
    const ended = journal.endedAction(uuid)
    if (ended?.number === number && ended.attempt === attempt) {
      await this.#record([queued([this.#report(context, uuid, ended)])])
      return null
    }
    if (this.#isOver(instance, number, action)) {
      logger.info(facts, 'action ignored: something later was begun')
      await journal.flushed()
      return null
    }
    // After a later try here the earlier one is the instance again, and what is done to it then is no repeat.
    const isRestored = (journal.known(uuid)?.attempt ?? attempt) > attempt
    const restored = isRestored ? [{ type: 'try_restored', uuid, attempt } as const] : []
    await journal.append([...restored, { type: 'action_begun', instance, number, action, context }])
    this.#run(uuid, number)
    return null
  }

  /** Its guest is of a later try, or on its way out, or this or a later action was begun already. */
  #isOver({ uuid, attempt }: Instance, number: number, { name }: InstanceAction): boolean {
    const { journal } = this.#ports
    const known = journal.known(uuid)
    const lastNumber = Math.max(journal.action(uuid)?.number ?? 0, journal.endedAction(uuid)?.number ?? 0)
    if (number <= lastNumber || journal.termination(uuid) !== undefined) return true
    // The only one that goes back to an earlier try, when the later one has nothing here any more.
    if (name === 'finish_revert_resize' && known !== undefined && attempt < known.attempt) return !leftNothing(known)
    return (
      known !== undefined && (attempt < known.attempt || (attempt === known.attempt && known.terminated !== undefined))
    )
  }

  #run(uuid: string, number: number): void {
    const interruption = new BuildAborted('a later action took over', { instance_uuid: uuid })
    this.#lanes.run(uuid, (signal) => this.#act(uuid, number, signal), interruption)
  }

  /** @param signal aborts when newer work for the instance waits */
  async #act(uuid: string, number: number, signal: AbortSignal): Promise<void> {
    const begun = this.#current(uuid, number)
    if (begun === undefined) return
    const until = AbortSignal.any([signal, this.#signals.stopping])
    if (isLate(begun.instance, this.#ports) && !(await this.#isStillWanted(begun, until))) return
    const outcome = await this.#outcomeOf(begun, until)
    // Taken over at the last moment: it is for the newer work to tell what becomes of the guest.
    if (outcome !== undefined && this.#current(uuid, number) !== undefined) await this.#end(begun, outcome)
  }

  /** One that waited long for this host may be over, and its instance as it was before, or elsewhere. */
  async #isStillWanted(begun: Action, until: AbortSignal): Promise<boolean> {
    const { instance, number, action, context } = begun
    const { uuid } = instance
    const wanted = await isWanted(begun, this.#ports, until).catch((error: unknown) => {
      if (until.aborted) return undefined
      throw error
    })
    if (wanted !== false) return wanted === true && this.#current(uuid, number) !== undefined
    await this.#ports.journal.append([{ type: 'action_unwanted', uuid, number }])
    const facts = { instance_uuid: uuid, action: action.name, number, request_id: context.request_id }
    this.#ports.logger.info(facts, `${action.name} is not wanted any more: it is not done`)
    return false
  }

  /** @returns undefined when it is given up */
  async #outcomeOf(begun: Action, until: AbortSignal): Promise<ActionOutcome | undefined> {
    try {
      return { result: 'done', ...(await perform(begun, this.#ports, until)) }
    } catch (thrown) {
      if (until.aborted) return undefined
      return await this.#failed(begun, toSevbusError(thrown), until)
    }
  }

  async #failed({ instance: { uuid }, action, number, context }: Action, error: SevbusError, until: AbortSignal) {
    const { driver, logger } = this.#ports
    const facts = { instance_uuid: uuid, action: action.name, number, code: error.code, request_id: context.request_id }
    logger.warn(facts, `${action.name} failed: ${error.message}`)
    const options = { ...this.#ports, request_id: context.request_id }
    try {
      const found = await untilDone(`look at guest ${uuid}`, () => driver.guest(uuid, until), options, until)
      const fault = faultOf(error, timestamp(this.#ports))
      return { result: 'failed', fault, guest: found?.state ?? 'missing' } as const
    } catch {
      return undefined
    }
  }

  async #end({ instance, number, action, context }: Action, outcome: ActionOutcome): Promise<void> {
    const { uuid, attempt } = instance
    const ended = { attempt, number, outcome }
    await this.#record([{ type: 'action_ended', uuid, ...ended }, queued([this.#report(context, uuid, ended)])])
    const facts = { instance_uuid: uuid, action: action.name, number, request_id: context.request_id }
    if (outcome.result === 'done') this.#ports.logger.info(facts, `${action.name} done`)
  }

  #report(context: RequestContext, uuid: string, { attempt, number, outcome }: EndedAction): DurableMessage {
    const { host, client } = this.#ports
    const args = { instance_uuid: uuid, attempt, host, number, outcome }
    return client.message(ConductorApi, 'reportAction', context, args, { orderingKey: uuid })
  }

  #current(uuid: string, number: number): Action | undefined {
    const begun = this.#ports.journal.action(uuid)
    return begun?.number === number ? begun : undefined
  }

  async #record(records: Parameters<ComputePorts['journal']['append']>[0]): Promise<void> {
    await this.#ports.journal.append(records)
    this.#ports.outbox.announce()
  }
}

function leftNothing({ terminated, outcome }: KnownTry): boolean {
  return terminated !== undefined || outcome === 'failed' || outcome === 'unwanted'
}
