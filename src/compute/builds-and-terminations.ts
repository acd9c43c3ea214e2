import type { z } from 'zod'
import { BuildAborted } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { isExpected } from './arrivals.ts'
import { Builder } from './builder.ts'
import { type ComputePorts, timestamp } from './compute-ports.ts'
import type { InstanceLanes } from './instance-lanes.ts'
import { queued } from './journal/journal.ts'
import { covers, endOf, isOver, type TerminateArgs, wasRefused } from './known-tries.ts'
import type { ComputeApi } from './rpc-api.ts'
import { Terminator } from './terminator.ts'

type Methods = (typeof ComputeApi)['methods']
type BuildArgs = z.output<Methods['buildAndRunInstance']['input']>
type FinishArgs = z.output<Methods['finishResize']['input']>
type Build = BuildArgs &
  Partial<Pick<FinishArgs, 'disks' | 'power_on'>> & {
    readonly rebuilds?: true
    readonly live?: true
    readonly reports_to?: string
  }

interface Signals {
  readonly draining: AbortSignal
  readonly stopping: AbortSignal
}

/**
 * Begins what makes guests and what removes them: the journal has it first, then it follows in the lane of its instance.
 * What is older than what is known of the instance is ignored; what was asked before is told again, and not done again.
 */
export class BuildsAndTerminations {
  readonly #ports: ComputePorts
  readonly #lanes: InstanceLanes
  readonly #builder: Builder
  readonly #terminator: Terminator

  /** @param options.maxConcurrentBuilds guests that may start at a time; the others wait */
  constructor(
    ports: ComputePorts,
    { lanes, signals, maxConcurrentBuilds }: { lanes: InstanceLanes; signals: Signals; maxConcurrentBuilds: number },
  ) {
    this.#ports = ports
    this.#lanes = lanes
    this.#builder = new Builder(ports, maxConcurrentBuilds, signals)
    this.#terminator = new Terminator(ports, signals)
  }

  /** Takes up what an earlier worker had begun. */
  recover(): void {
    const { journal } = this.#ports
    for (const { instance } of journal.terminations()) this.#terminate(instance.uuid)
    for (const { instance } of journal.builds()) {
      const { uuid, attempt } = instance
      this.#lanes.run(uuid, (signal) => this.#builder.recover(uuid, attempt, signal), tookOver(uuid))
    }
  }

  /** The same try again, or an older one than was here, changes nothing. */
  async build(args: Build, context: RequestContext): Promise<null> {
    const { instance, ...given } = args
    const { journal, logger } = this.#ports
    const { uuid, attempt } = instance
    const known = journal.known(uuid)
    const hasCome = args.live === true && attempt === known?.attempt && isExpected(journal, uuid)
    const isRefused = known !== undefined && wasRefused(known, attempt)
    const isBegun = args.rebuilds && attempt === journal.build(uuid)?.instance.attempt
    if (isBegun || isRefused || (known !== undefined && isOver(known, attempt) && !hasCome)) {
      const facts = { instance_uuid: uuid, attempt, known_attempt: known?.attempt, request_id: context.request_id }
      logger.info(facts, 'build ignored: not newer')
      // Its conductor waits for no other host, and asks until it has heard.
      if (args.rebuilds && known !== undefined && (isRefused || attempt === known.attempt))
        await this.#builder.tellAgain(instance, known, context)
      await journal.flushed()
      return null
    }
    await journal.append([{ type: 'build_begun', instance, ...given, context, interruptions: 0 }])
    const isFirst = known === undefined
    this.#lanes.run(uuid, (signal) => this.#builder.build(uuid, attempt, isFirst, signal), tookOver(uuid))
    return null
  }

  /** Interrupts a build of the instance. Repeated after its end: reports the same once more, and notifies nobody. */
  async terminate(args: TerminateArgs, context: RequestContext): Promise<null> {
    const { instance, migration_uuid, only_disks_aside, ...rest } = args
    const { journal, logger } = this.#ports
    const { uuid, attempt } = instance
    const known = journal.known(uuid)
    const ended = endOf(known, args)
    if (only_disks_aside && migration_uuid !== undefined && ended === undefined) {
      return this.#removeLeft(instance, migration_uuid, context)
    }
    if (known !== undefined && attempt !== known.attempt && isOver(known, attempt) && ended === undefined) {
      const facts = { instance_uuid: uuid, attempt, known_attempt: known.attempt, request_id: context.request_id }
      logger.info(facts, 'termination of an older try ignored')
      return null
    }
    if (ended !== undefined) {
      const report = this.#terminator.terminated(context, uuid, attempt, ended, migration_uuid)
      if (!args.void || migration_uuid !== undefined) await this.#record([queued([report])])
      return null
    }
    if (covers(journal.termination(uuid), args)) {
      await journal.flushed()
      return null
    }
    const ofMove = migration_uuid === undefined ? {} : { migration_uuid }
    await journal.append([{ type: 'terminate_begun', instance, ...rest, ...ofMove, context }])
    this.#terminate(uuid)
    return null
  }

  /** The instance was resized on this host, and its guest stays: only what it had before goes. */
  async #removeLeft({ uuid, attempt }: Instance, migrationUuid: string, context: RequestContext): Promise<null> {
    await this.#ports.driver.removeDisksAside(uuid)
    const at = timestamp(this.#ports)
    await this.#record([queued([this.#terminator.terminated(context, uuid, attempt, at, migrationUuid)])])
    return null
  }

  #terminate(uuid: string): void {
    const interruption = new BuildAborted('the instance is being terminated', { instance_uuid: uuid })
    this.#lanes.run(uuid, () => this.#terminator.terminate(uuid), interruption)
  }

  async #record(records: Parameters<ComputePorts['journal']['append']>[0]): Promise<void> {
    await this.#ports.journal.append(records)
    this.#ports.outbox.announce()
  }
}

export function tookOver(uuid: string): BuildAborted {
  return new BuildAborted('a later try took over', { instance_uuid: uuid })
}
