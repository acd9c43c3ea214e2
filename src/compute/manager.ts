import type { z } from 'zod'
import { ServiceStopping } from '../errors.ts'
import type { InstanceAction } from '../objects/instance-action.ts'
import type { Endpoint, RequestInfo } from '../rpc/contract.ts'
import type { actionMethods } from './action-methods.ts'
import { Actions } from './actions/actions.ts'
import { DEFAULT_SHUTDOWN, DEFAULT_UNPLUG } from './actions/guest-patience.ts'
import { refuseOtherStorage, whatWouldLeave } from './actions/live-migration.ts'
import { Arrivals, isExpected } from './arrivals.ts'
import { BuildsAndTerminations } from './builds-and-terminations.ts'
import { Clearing } from './clearing.ts'
import type { ComputePorts } from './compute-ports.ts'
import { consoleOf, consoleOutput } from './consoles.ts'
import { listGuests } from './guest-list.ts'
import { InstanceLanes } from './instance-lanes.ts'
import type { TerminateArgs } from './known-tries.ts'
import { DEFAULT_DOMAIN_OPTIONS } from './libvirt/domain-options.ts'
import { NO_LIMITS } from './libvirt/slot-limits.ts'
import type { moveMethods } from './move-methods.ts'
import { DEFAULT_RETRY_DELAYS_MS } from './patience.ts'
import { prepareArrival } from './prepare-arrival.ts'
import { ProvenGuests } from './proven-guests.ts'
import type { ComputeApi } from './rpc-api.ts'
import { UnprovenGuests } from './unproven-guests.ts'

type Optional =
  | 'domainOptions'
  | 'slotLimits'
  | 'shutdown'
  | 'unplug'
  | 'retryDelaysMs'
  | 'now'
  | 'tellException'
  | 'proven'
type BuildArgs = z.output<(typeof ComputeApi)['methods']['buildAndRunInstance']['input']>
type BuildsArgs = z.output<(typeof ComputeApi)['methods']['buildAndRunInstances']['input']>
type ActionArgs<N extends keyof typeof actionMethods> = z.output<(typeof actionMethods)[N]['input']>
type FinishArgs = z.output<(typeof ComputeApi)['methods']['finishResize']['input']>
type PrepArgs = z.output<(typeof ComputeApi)['methods']['prepResize']['input']>
type RebuildArgs = z.output<(typeof ComputeApi)['methods']['rebuildInstance']['input']>
type RemoveImageArgs = z.output<(typeof ComputeApi)['methods']['removeShelvedImage']['input']>
type LiveArgs<N extends keyof typeof moveMethods> = z.output<(typeof moveMethods)[N]['input']>

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
  readonly #work: BuildsAndTerminations
  readonly #actions: Actions
  readonly #arrivals: Arrivals
  readonly #clearing: Clearing
  readonly #unproven: UnprovenGuests
  readonly #lanes: InstanceLanes
  readonly #draining = new AbortController()
  readonly #stopping = new AbortController()
  #drained: Promise<void> | undefined

  constructor({ maxConcurrentBuilds = 10, ...ports }: ComputeManagerOptions) {
    const defaults = {
      domainOptions: DEFAULT_DOMAIN_OPTIONS,
      slotLimits: NO_LIMITS,
      shutdown: DEFAULT_SHUTDOWN,
      unplug: DEFAULT_UNPLUG,
      retryDelaysMs: DEFAULT_RETRY_DELAYS_MS,
      now: () => new Date(),
      tellException: async () => {},
      proven: new ProvenGuests(),
    }
    const signals = { draining: this.#draining.signal, stopping: this.#stopping.signal }
    this.#ports = { ...defaults, ...ports }
    this.#lanes = new InstanceLanes((error, uuid) => {
      if (this.#stopping.signal.aborted) return
      const { journal, logger, tellException } = this.#ports
      const begun = journal.termination(uuid) ?? journal.build(uuid) ?? journal.action(uuid)
      const failed = begun === journal.termination(uuid) ? 'terminate_instance' : 'build_and_run_instance'
      if (begun !== undefined) void tellException(error, 'action' in begun ? begun.action.name : failed, begun.context)
      const facts = { instance_uuid: uuid, request_id: begun?.context.request_id, err: error }
      logger.error(facts, 'work on an instance broke off; a restart resumes it')
    })
    this.#work = new BuildsAndTerminations(this.#ports, { lanes: this.#lanes, signals, maxConcurrentBuilds })
    this.#actions = new Actions(this.#ports, signals, this.#lanes)
    this.#arrivals = new Arrivals(this.#ports, this.#lanes)
    const isBusy = (uuid: string) => this.isBusy(uuid)
    this.#clearing = new Clearing(this.#ports, { lanes: this.#lanes, signals, work: this.#work, isBusy })
    this.#unproven = new UnprovenGuests(this.#ports, { lanes: this.#lanes, signals, isBusy })
  }

  /** Takes up what an earlier worker had begun. Call it before requests can arrive; the work itself follows. */
  recover(): void {
    this.#work.recover()
    this.#actions.recover()
  }

  /** Once it serves: see `Clearing`. Neither ever throws. */
  removeDeparted(): Promise<void> {
    return this.#clearing.removeDeparted()
  }

  removeStrays(): Promise<void> {
    return this.#clearing.removeStrays()
  }

  /** See `UnprovenGuests`: of a guest that runs. */
  proveGuest(...guest: Parameters<UnprovenGuests['prove']>): Promise<boolean> {
    return this.#unproven.prove(...guest)
  }

  async removeStrayDisks({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    this.#refuseWhenDraining()
    await this.#clearing.removeStraysOf(instance_uuid, signal)
    return null
  }

  buildAndRunInstance(args: BuildArgs, { context }: RequestInfo): Promise<null> {
    return this.#build(args, context)
  }

  /** Written to the journal together. Offered again, as it is where one of them cannot be, those that are there change nothing. */
  async buildAndRunInstances({ builds, reports_to }: BuildsArgs, _: RequestInfo): Promise<null> {
    await Promise.all(builds.map(({ context, ...build }) => this.#build({ ...build, reports_to }, context)))
    return null
  }

  finishResize(args: FinishArgs, { context }: RequestInfo): Promise<null> {
    return this.#build(args, context)
  }

  rebuildInstance(args: RebuildArgs, { context }: RequestInfo): Promise<null> {
    return this.#build({ ...args, rebuilds: true }, context)
  }

  async prepResize({ instance, allocations }: PrepArgs, { signal }: RequestInfo): Promise<{ storage: string }> {
    this.#refuseWhenDraining()
    return { storage: await prepareArrival(instance, allocations, this.#ports, signal) }
  }

  async checkCanLiveMigrateSource({ instance }: LiveArgs<'checkCanLiveMigrateSource'>, { signal }: RequestInfo) {
    this.#refuseWhenDraining()
    return await whatWouldLeave(instance, this.#ports, signal)
  }

  async checkCanLiveMigrateDestination(
    { instance, allocations, storage }: LiveArgs<'checkCanLiveMigrateDestination'>,
    { signal }: RequestInfo,
  ): Promise<null> {
    this.#refuseWhenDraining()
    const own = await prepareArrival(instance, allocations, this.#ports, signal)
    refuseOtherStorage(instance.uuid, this.#ports.host, own, storage)
    return null
  }

  async preLiveMigration({ instance, disks }: LiveArgs<'preLiveMigration'>, info: RequestInfo) {
    this.#refuseWhenDraining()
    return { migrate_data: await this.#arrivals.prepare(instance, disks, info) }
  }

  postLiveMigrationAtDestination(
    args: LiveArgs<'postLiveMigrationAtDestination'>,
    { context }: RequestInfo,
  ): Promise<null> {
    return this.#build({ ...args, live: true }, context)
  }

  async rollbackLiveMigrationAtDestination(
    args: LiveArgs<'rollbackLiveMigrationAtDestination'>,
    { context }: RequestInfo,
  ): Promise<null> {
    this.#refuseWhenDraining()
    return await this.#work.terminate({ ...args, void: true }, context)
  }

  async terminateInstance(args: TerminateArgs, { context }: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    return await this.#work.terminate(args, context)
  }

  startInstance(args: ActionArgs<'startInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'start' }, context)
  }

  stopInstance(args: ActionArgs<'stopInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'stop', clean_shutdown: args.clean_shutdown }, context)
  }

  rebootInstance(args: ActionArgs<'rebootInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'reboot', reboot_type: args.reboot_type }, context)
  }

  pauseInstance(args: ActionArgs<'pauseInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'pause' }, context)
  }

  unpauseInstance(args: ActionArgs<'unpauseInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'unpause' }, context)
  }

  suspendInstance(args: ActionArgs<'suspendInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'suspend' }, context)
  }

  resumeInstance(args: ActionArgs<'resumeInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'resume' }, context)
  }

  attachVolume(args: ActionArgs<'attachVolume'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'attach_volume', volume: args.volume }, context)
  }

  detachVolume(args: ActionArgs<'detachVolume'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'detach_volume', volume_id: args.volume_id }, context)
  }

  attachInterface(args: ActionArgs<'attachInterface'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'attach_interface', interface: args.interface }, context)
  }

  detachInterface(args: ActionArgs<'detachInterface'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'detach_interface', mac: args.mac }, context)
  }

  snapshotInstance(args: ActionArgs<'snapshotInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'snapshot', image: args.image }, context)
  }

  rescueInstance(args: ActionArgs<'rescueInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'rescue', image: args.image }, context)
  }

  unrescueInstance(args: ActionArgs<'unrescueInstance'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'unrescue' }, context)
  }

  resizeInstance(args: ActionArgs<'resizeInstance'>, { context }: RequestInfo): Promise<null> {
    const { clean_shutdown, storage } = args
    return this.#act(args, { name: 'resize_instance', clean_shutdown, storage }, context)
  }

  liveMigration({ dest, migrate_data, ...args }: ActionArgs<'liveMigration'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'live_migration', dest, migrate_data }, context)
  }

  liveMigrationAbort({ instance, number }: ActionArgs<'liveMigrationAbort'>, _: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    return this.#actions.order(instance.uuid, number, 'abort')
  }

  liveMigrationForceComplete(args: ActionArgs<'liveMigrationForceComplete'>, _: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    return this.#actions.order(args.instance.uuid, args.number, 'force_complete')
  }

  rollbackLiveMigration(args: ActionArgs<'rollbackLiveMigration'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'rollback_live_migration' }, context)
  }

  finishRevertResize(args: ActionArgs<'finishRevertResize'>, { context }: RequestInfo): Promise<null> {
    return this.#act(args, { name: 'finish_revert_resize', power_on: args.power_on }, context)
  }

  shelveInstance(args: ActionArgs<'shelveInstance'>, { context }: RequestInfo): Promise<null> {
    const { clean_shutdown, image } = args
    return this.#act(args, { name: 'shelve', clean_shutdown, image }, context)
  }

  /** What still makes it is interrupted, or done, before. */
  async removeShelvedImage({ instance_uuid, image_id }: RemoveImageArgs, _: RequestInfo): Promise<null> {
    this.#refuseWhenDraining()
    const { journal, driver } = this.#ports
    const isEnding = journal.termination(instance_uuid) ?? journal.action(instance_uuid)?.action.name === 'shelve'
    if (isEnding) await this.#lanes.ended(instance_uuid)
    await driver.removeImage(instance_uuid, image_id)
    return null
  }

  async #build(...asked: Parameters<BuildsAndTerminations['build']>): Promise<null> {
    this.#refuseWhenDraining()
    return await this.#work.build(...asked)
  }

  #act({ instance, number }: ActionArgs<'startInstance'>, action: InstanceAction, context: RequestInfo['context']) {
    return this.#actions.begin({ instance, number, action }, context)
  }

  async getConsoleOutput(
    { instance_uuid, tail_length }: { readonly instance_uuid: string; readonly tail_length?: number | undefined },
    { signal }: RequestInfo,
  ) {
    return { output: await consoleOutput(this.#ports, instance_uuid, tail_length, signal) }
  }

  async getVncConsole({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    return { console: await consoleOf(this.#ports, instance_uuid, 'vnc', signal) }
  }

  async getSpiceConsole({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    return { console: await consoleOf(this.#ports, instance_uuid, 'spice', signal) }
  }

  async getSerialConsole({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    return { console: await consoleOf(this.#ports, instance_uuid, 'serial', signal) }
  }

  async getDomainXml({ instance_uuid }: { readonly instance_uuid: string }, { signal }: RequestInfo) {
    return { xml: await this.#ports.driver.domainXml(instance_uuid, signal) }
  }

  async listGuests(_: unknown, { signal }: RequestInfo) {
    return await listGuests(this.#ports, signal)
  }

  /** Is anything done to the instance here, or about to be? */
  isBusy(uuid: string): boolean {
    const { journal } = this.#ports
    const begun = journal.build(uuid) ?? journal.termination(uuid) ?? journal.action(uuid)
    return begun !== undefined || this.#lanes.has(uuid) || isExpected(journal, uuid)
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
    await this.#clearing.ended
    const timer = setTimeout(() => this.#stopping.abort(reason), graceMs)
    await this.#lanes.idle()
    clearTimeout(timer)
    await this.#ports.journal.flushed()
  }

  #refuseWhenDraining(): void {
    if (this.#draining.signal.aborted) throw new ServiceStopping('the worker is stopping and begins nothing more')
  }
}
