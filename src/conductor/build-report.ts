import type { Queryable } from '../database/database.ts'
import { isHopeless, MaxRetriesExceeded, toSevbusError } from '../errors.ts'
import { errorOf, type Fault, faultOf } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'
import { cleanText } from '../objects/text.ts'
import { arrive } from './arrival.ts'
import { endAttempt, failuresOf, firstAttemptOf, MAX_FAILURE, startAttempt } from './attempt-store.ts'
import { buildFails } from './host-events.ts'
import { changed, changeInstance, type InstanceRecord, lockInstance } from './instance-store.ts'
import { arriveLive } from './live-migration/arrive.ts'
import { notArrived } from './live-migration/return.ts'
import { continueBuildMessage, noteBuildMessage, releaseMessage, terminateMessage } from './messages.ts'
import type { MoveRecord } from './migration-store.ts'
import { goBack, notTaken } from './moving.ts'
import type { ConductorPorts } from './ports.ts'
import { rebuildEnded } from './rebuild/end-rebuild.ts'
import { requestSpec } from './request-spec.ts'
import { arriveResized, destinationFailed } from './resize/arrive.ts'
import type { BuildReport } from './rpc-api.ts'
import { notBuilt, unshelved } from './shelve/unshelve.ts'
import { isOnItsHost, stagesOf } from './stages.ts'

/** Takes note of how a try ended on its host. Told twice, it changes nothing twice. */
export async function recordBuildReport(ports: ConductorPorts, report: BuildReport): Promise<void> {
  if (await becomeActiveAtOnce(ports, report)) return
  await ports.database.transaction(async (tx) => {
    const record = await lockInstance(tx, report.instance_uuid)
    const { instance, move } = record
    if (!isCurrent(instance, report)) return rejectVoid(ports, tx, record, report)
    if (!isOnItsHost(instance) || move?.arrived_at) return
    if (move === undefined) await buildEnded(ports, tx, record, report.outcome)
    else await moveEnded(ports, tx, record, move, report.outcome)
  })
  ports.outbox.announce()
}

/**
 * Each by itself; where one cannot be recorded all come again, and those that were change nothing.
 *
 * @throws why one could not be: one that may pass, if there is any, for what never will takes all of them to the dead letters
 */
export async function recordBuildReports(ports: ConductorPorts, reports: readonly BuildReport[]): Promise<void> {
  const ends = await Promise.allSettled(reports.map((report) => recordBuildReport(ports, report)))
  const failures = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason as unknown] : []))
  if (failures.length === 0) return
  throw (
    failures.find((failure) => toSevbusError(failure).isOutage) ??
    failures.find((failure) => !isHopeless(failure)) ??
    failures[0]
  )
}

function isCurrent(instance: Instance, { attempt, host }: BuildReport): boolean {
  return instance.vm_state !== 'deleted' && instance.attempt === attempt && instance.host === host
}

type Outcome = BuildReport['outcome']

function buildEnded(ports: ConductorPorts, tx: Queryable, record: InstanceRecord, outcome: Outcome): Promise<unknown> {
  if (outcome.result === 'failed') return tryFailed(ports, tx, record, outcome)
  return record.shelving === undefined
    ? becomeActive(ports, tx, record, outcome.launched_at)
    : unshelved(ports, tx, record, outcome.launched_at)
}

/** Each kind of move has an end of its own. */
function moveEnded(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  move: MoveRecord,
  outcome: Outcome,
): Promise<unknown> {
  const hasFailed = outcome.result === 'failed'
  switch (move.type) {
    case 'rebuild':
      return rebuildEnded(ports, tx, record, move, outcome)
    case 'evacuation':
      return hasFailed ? tryFailed(ports, tx, record, outcome) : arrive(ports, tx, record, move, outcome.launched_at)
    case 'live-migration':
      return hasFailed ? notArrived(ports, tx, record, move, outcome.fault) : arriveLive(ports, tx, record, move)
    case 'migration':
    case 'resize':
      return hasFailed
        ? destinationFailed(ports, tx, record, move, outcome)
        : arriveResized(ports, tx, record, move, outcome.launched_at)
    default:
      return move.type satisfies never
  }
}

/** A guest that runs under a try that is void must not run: its claim belongs to somebody else by now. */
async function rejectVoid(
  ports: ConductorPorts,
  tx: Queryable,
  { instance, context, move }: InstanceRecord,
  report: BuildReport,
) {
  if (report.outcome.result !== 'active') return
  // Told once more by the host that the instance is to leave: it may yet go back there.
  if (report.host === move?.source_host && report.attempt === move.source_attempt) return
  const old = { ...instance, attempt: report.attempt, host: report.host }
  await ports.outbox.enqueue(tx, [terminateMessage(ports, context, report.host, old, true)])
}

/** The end of a boot that nothing has disturbed, without locks. @returns false when it is another, and nothing is done */
async function becomeActiveAtOnce(ports: ConductorPorts, report: BuildReport): Promise<boolean> {
  if (report.outcome.result !== 'active') return false
  const isReady = (instance: Instance) => isCurrent(instance, report) && isOnItsHost(instance)
  const record = await ports.steps.read(report.instance_uuid, isReady)
  if (record === undefined || !isReady(record.instance)) return false
  const at = ports.now()
  const next = changed(record.instance, activeSince(report.outcome.launched_at), at)
  const messages = [...ports.events.update(record.context, record.instance, next), createEnds(ports, record, next)]
  return ports.steps.make({ record, next, outcome: 'active', endedAt: at, messages, isNoted: true })
}

function activeSince(launchedAt: string) {
  return { vm_state: 'active', task_state: null, launched_at: launchedAt } as const
}

/** In the host's name: billing looks for it there. */
function createEnds(ports: ConductorPorts, { context }: InstanceRecord, active: Instance) {
  return ports.events.onBehalfOf(active.host as string).message('instance.create.end', context, active)
}

/** From here on it is charged for: the notification is stored with the state, and a void try never has one. */
async function becomeActive(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  launchedAt: string,
): Promise<void> {
  const at = ports.now()
  const { instance } = record
  const active = await changeInstance(ports, tx, record, activeSince(launchedAt), at)
  await endAttempt(tx, { uuid: instance.uuid, attempt: instance.attempt }, { outcome: 'active', reason: null }, at)
  const noted = noteBuildMessage(ports, record.context, active, active.host as string, null)
  await ports.outbox.enqueue(tx, [createEnds(ports, record, active), noted])
}

export interface FailedTry {
  readonly fault: Fault
  readonly retryable: boolean
  /** As it was, or was to be, on the host of the try; absent: as it is. */
  readonly there?: Instance
}

/**
 * Tries again elsewhere while that can help; then the instance is ERROR, or where it was, with the reason of the last try.
 */
export async function tryFailed(
  ports: ConductorPorts,
  tx: Queryable,
  record: InstanceRecord,
  { fault, retryable, there = record.instance }: FailedTry,
): Promise<void> {
  const { instance, context, move } = record
  const at = ports.now()
  const tries = instance.attempt - firstAttemptOf(record) + 1
  const key = { uuid: instance.uuid, attempt: instance.attempt }
  const reason = cleanText(`${fault.code}: ${fault.message}`, 4000)
  await endAttempt(tx, key, { outcome: 'failed', reason }, at)
  const failure = errorOf(fault)
  await ports.outbox.enqueue(tx, buildFails(ports, context, there, fault, failure))
  // What no other host could do either is no fault of this one.
  if (retryable && there.host !== null) {
    const words = reason.slice(0, MAX_FAILURE)
    await ports.outbox.enqueue(tx, [noteBuildMessage(ports, context, instance, there.host, words)])
  }
  if (retryable && tries < ports.maxAttempts) {
    const attempt = instance.attempt + 1
    // What is resized, or migrated, is where it was until it has left.
    const host = move && move.type !== 'evacuation' ? move.source_host : null
    const next = await changeInstance(ports, tx, record, { task_state: stagesOf(instance).waiting, host, attempt }, at)
    await startAttempt(tx, { uuid: instance.uuid, attempt }, at)
    await ports.outbox.enqueue(tx, [continueBuildMessage(ports, context, next)])
    return
  }
  const failures = (await failuresOf(tx, instance.uuid, firstAttemptOf(record))) ?? reason
  const final = retryable ? retriesExceeded(instance, fault, failures, tries, ports.maxAttempts, at) : fault
  const error = errorOf(final)
  if (move !== undefined) {
    const back = await goBack(ports, tx, record, move, final)
    return ports.outbox.enqueue(tx, [notTaken(ports, record, move, back, error)])
  }
  const failed = await changeInstance(ports, tx, record, notBuilt(record, final), at)
  await ports.outbox.enqueue(tx, [
    ports.events.buildFailed(context, failed, requestSpec(instance, [], record), error),
    releaseMessage(ports, context, failed),
  ])
}

function retriesExceeded(
  instance: Instance,
  last: Fault,
  failures: string,
  tries: number,
  limit: number,
  at: Date,
): Fault {
  const error = new MaxRetriesExceeded(
    `instance ${instance.uuid} failed on ${tries} host(s), the limit is ${limit}: ${failures}`,
    { last_code: last.code, attempts: tries, fix: 'see why each try failed with: sevbus explain' },
  )
  return faultOf(error, at.toISOString())
}
