import { type BuildReport, ConductorApi } from '../conductor/rpc-api.ts'
import { BuildInterrupted, type SevbusError, toSevbusError } from '../errors.ts'
import { faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import type { DurableMessage } from '../rpc/durable-message.ts'
import { Limiter } from '../rpc/limiter.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { inSpan, type SpanDraft } from '../rpc/tracing.ts'
import { takeOverGuest } from './actions/live-migration.ts'
import { shutDownEarlier } from './actions/power-off.ts'
import { bootGuest } from './boot-guest.ts'
import { type ComputePorts, type StopSignals, timestamp } from './compute-ports.ts'
import { EndedBuilds, reportMessage } from './ended-builds.ts'
import { inTurn } from './in-turn.ts'
import { queued } from './journal/journal.ts'
import { type Build, isRefusable, type KnownTry } from './journal/state.ts'
import { wasRefused } from './known-tries.ts'
import { isLate } from './late.ts'
import { removeLeftovers } from './leftovers.ts'
import { doesNotAnswer, untilDone } from './patience.ts'
import { prepareRebuild } from './prepare-rebuild.ts'

/** A build that kills its worker is given up after so many times. */
const MAX_INTERRUPTIONS = 3

/** The guest that was to be rebuilt is as it was. */
const UNCHANGED = { unchanged: true } as const

/** Takes builds that the journal has from begun to ended. */
export class Builder {
  readonly #ports: ComputePorts
  readonly #limiter: Limiter
  readonly #signals: StopSignals
  readonly #ended: EndedBuilds

  constructor(ports: ComputePorts, maxConcurrentBuilds: number, signals: StopSignals) {
    this.#ports = ports
    this.#ended = new EndedBuilds(ports)
    this.#limiter = new Limiter(maxConcurrentBuilds)
    this.#signals = signals
  }

  /**
   * Ends in the journal, unless a termination or a later try took the instance over, or the worker stops.
   *
   * @param isFirst nothing of this instance was ever on the host
   * @param signal aborts when newer work for the instance waits
   */
  async build(uuid: string, attempt: number, isFirst: boolean, signal: AbortSignal): Promise<void> {
    const { draining, stopping } = this.#signals
    const { journal } = this.#ports
    const build = this.#current(uuid, attempt)
    if (build === undefined) return
    const begun = inTurn(this.#limiter, AbortSignal.any([signal, draining]), async () => {
      if (isLate(build.instance, this.#ports) && !(await this.#isWanted(build, AbortSignal.any([signal, draining])))) {
        return journal.append([{ type: 'build_ended', uuid, attempt, outcome: 'unwanted' }])
      }
      if (build.rebuilds) return this.#rebuild(build, AbortSignal.any([signal, stopping]))
      if (!isFirst && !build.live)
        await removeLeftovers(uuid, build.context, this.#ports, stopping, build.disks !== undefined)
      await this.#boot(build, AbortSignal.any([signal, stopping]))
    })
    try {
      await begun
    } catch (error) {
      if (signal.aborted) return
      if (!draining.aborted) throw error
      await journal.append([{ type: 'build_handed_back', uuid, attempt }])
    }
  }

  /** After a start of the worker: is the interrupted try still wanted? Then again, else away with it, in silence. */
  async recover(uuid: string, attempt: number, signal: AbortSignal): Promise<void> {
    const { journal, logger } = this.#ports
    const found = this.#current(uuid, attempt)
    const isTakenOver = found?.disks !== undefined
    // What came as it ran may run; and so may what a rebuild has not touched yet.
    const mayRun = found !== undefined && (found.live || isRefusable(found))
    if (!mayRun) await removeLeftovers(uuid, found?.context, this.#ports, this.#signals.stopping, isTakenOver)
    const build = this.#current(uuid, attempt)
    if (build === undefined) return
    const wanted = await this.#isWanted(build, AbortSignal.any([signal, this.#signals.draining])).catch(() => undefined)
    if (wanted === undefined || this.#current(uuid, attempt) === undefined) return
    const { interruptions, context } = build
    const facts = { instance_uuid: uuid, attempt, wanted, interruptions, request_id: context.request_id }
    logger.info(facts, 'interrupted build found')
    if (!wanted) return journal.append([{ type: 'build_ended', uuid, attempt, outcome: 'unwanted' }])
    await journal.append([{ type: 'build_resumed', uuid, attempt }])
    const resumed = this.#current(uuid, attempt)
    if (resumed === undefined) return
    if (resumed.interruptions <= MAX_INTERRUPTIONS) return this.build(uuid, attempt, true, signal)
    const times = resumed.interruptions
    const error = new BuildInterrupted(`the worker was interrupted ${times} times while it built; it gives up`, {
      instance_uuid: uuid,
      interruptions: times,
      fix: "look into the host's log for what ends the worker",
    })
    if (resumed.live) await removeLeftovers(uuid, resumed.context, this.#ports, this.#signals.stopping)
    await this.#failed(resumed, error)
  }

  #isWanted({ instance, context }: Build, signal: AbortSignal): Promise<boolean> {
    const { host, client } = this.#ports
    const conductor = client.of(ConductorApi)
    const args = { instance_uuid: instance.uuid, attempt: instance.attempt, host }
    const ask = async () => (await conductor.checkBuild(context, args, { signal })).wanted
    const options = { ...this.#ports, request_id: context.request_id }
    return untilDone(`ask the conductor about ${instance.uuid}`, ask, options, signal)
  }

  /** What can fail while the earlier guest stands does so before that is touched, and leaves it as it is. */
  async #rebuild(build: Build, signal: AbortSignal): Promise<void> {
    const { uuid, attempt } = build.instance
    const { journal } = this.#ports
    using held = isRefusable(build) ? await this.#prepare(build, signal) : undefined
    if (isRefusable(build)) {
      if (held === undefined || this.#current(uuid, attempt) === undefined) return
      await journal.append([{ type: 'build_replaces', uuid, attempt }])
    }
    await shutDownEarlier(build.instance, this.#ports, signal)
    await removeLeftovers(uuid, build.context, this.#ports, this.#signals.stopping)
    await this.#boot({ ...build, replaces: true }, signal)
  }

  /** @returns undefined when it cannot be, and that is told */
  async #prepare(build: Build, signal: AbortSignal): Promise<Disposable | undefined> {
    try {
      return await prepareRebuild(build, this.#ports, signal)
    } catch (error) {
      signal.throwIfAborted()
      await this.#failed(build, toSevbusError(error))
      return undefined
    }
  }

  async #boot(build: Build, signal: AbortSignal): Promise<void> {
    const { uuid } = build.instance
    const { host, logger } = this.#ports
    let isClean = true
    try {
      const boot = bootSpan(build.instance, host)
      await inSpan(boot, build.context, () =>
        build.live
          ? this.#takeOver(build, signal)
          : bootGuest(build, this.#ports, signal, ({ step, error }) => {
              isClean = false
              const { request_id } = build.context
              logger.error({ instance_uuid: uuid, step, request_id, err: error }, 'undo failed; trying again')
            }),
      )
    } catch (error) {
      if (build.live) signal.throwIfAborted()
      if (!isClean || build.live) {
        const isTakenOver = build.disks !== undefined
        await removeLeftovers(uuid, build.context, this.#ports, this.#signals.stopping, isTakenOver)
      }
      signal.throwIfAborted()
      return this.#failed(build, toSevbusError(error))
    }
    await this.#succeeded(build)
  }

  /** Of a try that is asked for again after its end: that was lost on its way. */
  async tellAgain(instance: Instance, known: KnownTry, context: RequestContext): Promise<void> {
    const { host, journal, outbox } = this.#ports
    const { uuid, attempt } = instance
    const { outcome, terminated } = known
    if (terminated !== undefined || journal.build(uuid) !== undefined) return
    const at = timestamp(this.#ports)
    const lost = new BuildInterrupted('the build had failed, and its report was lost', { instance_uuid: uuid, host })
    const isRefused = wasRefused(known, attempt)
    const failed = { result: 'failed', fault: faultOf(lost, at), retryable: true, ...(isRefused && UNCHANGED) } as const
    const told = outcome === 'active' && !isRefused ? ({ result: 'active', launched_at: at } as const) : failed
    await journal.append([queued([this.#report(context, { instance_uuid: uuid, attempt, host, outcome: told })])])
    outbox.announce()
  }

  #report(context: RequestContext, report: BuildReport): DurableMessage {
    return reportMessage(this.#ports.client, context, report)
  }

  /** It may run here, so a hypervisor that does not answer is asked until it does. */
  #takeOver({ instance, context }: Build, signal: AbortSignal): Promise<void> {
    const options = { ...this.#ports, request_id: context.request_id, isWorthAnotherTry: doesNotAnswer }
    const look = () => takeOverGuest(instance, this.#ports, signal)
    return untilDone(`take over guest ${instance.uuid}`, look, options, signal)
  }

  #current(uuid: string, attempt: number): Build | undefined {
    const build = this.#ports.journal.build(uuid)
    return build?.instance.attempt === attempt ? build : undefined
  }

  async #succeeded(build: Build): Promise<void> {
    if (!(await this.#ended.run(build))) return
    const { instance, context } = build
    const { uuid, attempt } = instance
    const model = instance.mem_encryption?.model ?? 'none'
    this.#ports.logger.info({ instance_uuid: uuid, attempt, model, request_id: context.request_id }, 'guest runs')
  }

  async #failed(build: Build, error: SevbusError): Promise<void> {
    const { host, journal, outbox, logger } = this.#ports
    const { instance, context } = build
    const { uuid, attempt } = instance
    const fault = faultOf(error, timestamp(this.#ports))
    const unchanged = isRefusable(build) && UNCHANGED
    const outcome = { result: 'failed', fault, retryable: error.retryable, ...unchanged } as const
    const messages = [this.#report(context, { instance_uuid: uuid, attempt, host, outcome })]
    await journal.append([{ type: 'build_ended', uuid, attempt, outcome: 'failed' }, queued(messages)])
    outbox.announce()
    const facts = { instance_uuid: uuid, attempt, code: error.code, request_id: context.request_id }
    logger.warn(facts, `build failed: ${error.message}`)
  }
}

/** From the claimed instance to the guest that runs, encrypted as asked. */
function bootSpan({ uuid, attempt, mem_encryption }: Instance, host: string): SpanDraft {
  const attributes = {
    'sevbus.instance_uuid': uuid,
    'sevbus.attempt': attempt,
    'sevbus.mem_encryption.model': mem_encryption?.model ?? 'none',
    'host.name': host,
  }
  return { name: 'boot guest', kind: 'internal', attributes }
}
