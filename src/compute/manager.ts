import type { z } from 'zod'
import { BuildAborted, ServiceStopping } from '../errors.ts'
import type { Endpoint, RequestInfo } from '../rpc/contract.ts'
import { Builder } from './builder.ts'
import { type ComputePorts, timestamp } from './compute-ports.ts'
import { listGuests } from './guest-list.ts'
import { InstanceLanes } from './instance-lanes.ts'
import { deleting, spawning } from './instance-states.ts'
import { queued } from './journal/journal.ts'
import { DEFAULT_DOMAIN_OPTIONS } from './libvirt/domain-options.ts'
import { NO_LIMITS } from './libvirt/slot-limits.ts'
import { DEFAULT_RETRY_DELAYS_MS } from './patience.ts'
import type { ComputeApi } from './rpc-api.ts'
import { Terminator } from './terminator.ts'

type Optional = 'domainOptions' | 'slotLimits' | 'retryDelaysMs' | 'now'
type BuildArgs = z.output<(typeof ComputeApi)['methods']['buildAndRunInstance']['input']>
type TerminateArgs = z.output<(typeof ComputeApi)['methods']['terminateInstance']['input']>

export interface ComputeManagerOptions extends Omit<ComputePorts, Optional>, Partial<Pick<ComputePorts, Optional>> {
  /** Guests that may start at a time; the others wait. Nova's option of this name, and its default. */
  readonly maxConcurrentBuilds?: number
}

/**
 * Serves one host. A request is accepted once the journal has it; the work follows in the background, and its end is
 * told by messages that the journal keeps until they are sent.
 */
export class ComputeManager implements Endpoint<typeof ComputeApi> {
  readonly #ports: ComputePorts
  readonly #builder: Builder
  readonly #terminator: Terminator
  readonly #lanes: InstanceLanes
  readonly #draining = new AbortController()
  readonly #stopping = new AbortController()
  #drained: Promise<void> | undefined

  constructor({ maxConcurrentBuilds = 10, ...ports }: ComputeManagerOptions) {
    const defaults = {
      domainOptions: DEFAULT_DOMAIN_OPTIONS,
      slotLimits: NO_LIMITS,
      retryDelaysMs: DEFAULT_RETRY_DELAYS_MS,
      now: () => new Date(),
    }
    const signals = { draining: this.#draining.signal, stopping: this.#stopping.signal }
    this.#ports = { ...defaults, ...ports }
    this.#builder = new Builder(this.#ports, maxConcurrentBuilds, signals)
    this.#terminator = new Terminator(this.#ports, signals)
    this.#lanes = new InstanceLanes((error, uuid) => {
      if (this.#stopping.signal.aborted) return
      const { journal, logger } = this.#ports
      const begun = journal.termination(uuid) ?? journal.build(uuid)
      const facts = { instance_uuid: uuid, request_id: begun?.context.request_id, err: error }
      logger.error(facts, 'work on an instance broke off; a restart resumes it')
    })
  }

  /** Takes up what an earlier worker had begun. Call it before requests can arrive; the work itself follows. */
  recover(): void {
    const { journal } = this.#ports
    for (const { instance } of journal.terminations()) this.#terminate(instance.uuid)
    for (const { instance } of journal.builds()) {
      const { uuid, attempt } = instance
      this.#lanes.run(uuid, (signal) => this.#builder.recover(uuid, attempt, signal), tookOver(uuid))
    }
  }

  /** The same try again, or an older one than was here, changes nothing. */
  async buildAndRunInstance({ instance, allocations }: BuildArgs, { context }: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    const { host, journal, events, logger } = this.#ports
    const { uuid, attempt } = instance
    const known = journal.known(uuid)
    if (known !== undefined && attempt <= known.attempt) {
      const facts = { instance_uuid: uuid, attempt, known_attempt: known.attempt, request_id: context.request_id }
      logger.info(facts, 'build ignored: not newer')
      await journal.flushed()
      return null
    }
    const started = events.message('instance.create.start', context, spawning(instance, host, timestamp(this.#ports)))
    await this.#record([{ type: 'build_begun', instance, allocations, context, interruptions: 0 }, queued([started])])
    const isFirst = known === undefined
    this.#lanes.run(uuid, (signal) => this.#builder.build(uuid, attempt, isFirst, signal), tookOver(uuid))
    return null
  }

  /** Interrupts a build of the instance. Repeated after its end: reports the same once more, and notifies nobody. */
  async terminateInstance(args: TerminateArgs, { context }: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    const { instance } = args
    const { host, journal, events, logger } = this.#ports
    const { uuid, attempt } = instance
    const known = journal.known(uuid)
    if (known !== undefined && attempt < known.attempt) {
      const facts = { instance_uuid: uuid, attempt, known_attempt: known.attempt, request_id: context.request_id }
      logger.info(facts, 'termination of an older try ignored')
      return null
    }
    const ended = known?.attempt === attempt ? known.terminated : undefined
    if (ended && (args.void || !ended.void)) {
      const report = this.#terminator.terminated(context, uuid, attempt, ended.at)
      if (!args.void) await this.#record([queued([report])])
      return null
    }
    const pending = journal.termination(uuid)
    if (pending?.instance.attempt === attempt && (args.void || !pending.void)) {
      await journal.flushed()
      return null
    }
    const leaving = deleting(instance, host, timestamp(this.#ports))
    const messages = args.void ? [] : [events.message('instance.delete.start', context, leaving)]
    await this.#record([{ type: 'terminate_begun', instance, context, void: args.void }, queued(messages)])
    this.#terminate(uuid)
    return null
  }

  async getDomainXml({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    return { xml: await this.#ports.driver.domainXml(instance_uuid, signal) }
  }

  async listGuests(_: unknown, { signal }: RequestInfo) {
    return await listGuests(this.#ports, signal)
  }

  /** Resolves when no work is under way. */
  idle(): Promise<void> {
    return this.#lanes.idle()
  }

  /**
   * Begins nothing more and lets running work end; what is not begun stays in the journal for the next start.
   * @param graceMs after it, running builds are rolled back and stay in the journal too
   */
  drain(graceMs: number): Promise<void> {
    this.#drained ??= this.#drain(graceMs)
    return this.#drained
  }

  async #drain(graceMs: number): Promise<void> {
    const reason = new ServiceStopping('the worker is stopping')
    this.#draining.abort(reason)
    const timer = setTimeout(() => this.#stopping.abort(reason), graceMs)
    await this.#lanes.idle()
    clearTimeout(timer)
    await this.#ports.journal.flushed()
  }

  #terminate(uuid: string): void {
    const interruption = new BuildAborted('the instance is being terminated', { instance_uuid: uuid })
    this.#lanes.run(uuid, () => this.#terminator.terminate(uuid), interruption)
  }

  async #record(records: Parameters<ComputePorts['journal']['append']>[0]): Promise<void> {
    await this.#ports.journal.append(records)
    this.#ports.outbox.announce()
  }

  #refuseWhenDraining(): void {
    if (this.#draining.signal.aborted) throw new ServiceStopping('the worker is stopping and begins nothing more')
  }
}

function tookOver(uuid: string): BuildAborted {
  return new BuildAborted('a later try took over', { instance_uuid: uuid })
}
