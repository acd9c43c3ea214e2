import { StaleAttempt } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { continueArrival } from './arrival.ts'
import { askScheduler, isWorthAnotherLook, lookAgain } from './ask-scheduler.ts'
import { failedHosts, firstAttemptOf } from './attempt-store.ts'
import { continueBatch } from './continue-batch.ts'
import { hostOf } from './host-life.ts'
import { findInstance, type InstanceRecord } from './instance-store.ts'
import { continueLiveArrival, isToSayIfItCame } from './live-migration/fenced-destination.ts'
import { prepareLiveMigration } from './live-migration/prepare.ts'
import { hostsLeft, type MoveRecord } from './migration-store.ts'
import { handOver, handOverAtOnce, type Place, placeOf, refuse } from './placing.ts'
import type { ConductorPorts } from './ports.ts'
import { beginRebuild } from './rebuild/begin-rebuild.ts'
import { serviceInUse } from './refuse-evacuation.ts'
import { requestSpec } from './request-spec.ts'
import { continueReturn } from './resize/continue-return.ts'
import { prepareResize } from './resize/prepare.ts'
import { isWaitingForHost } from './stages.ts'

export interface BuildStep {
  readonly instance_uuid: string
  readonly attempt: number
}

/**
 * Takes a stored build to its host. Delivered twice, or by two conductors, it does nothing twice: the scheduler answers
 * one try always alike, and the row says how far the build is.
 */
export async function continueBuild(ports: ConductorPorts, step: BuildStep, signal: AbortSignal): Promise<void> {
  const { database, outbox } = ports
  const isReady = (instance: Instance) => isWaitingForHost(instance, step.attempt)
  const seen = await ports.steps.read(step.instance_uuid, isReady)
  const record = seen ?? (await findInstance(database, step.instance_uuid))
  const { instance, context, batch, move } = record
  const key = { uuid: instance.uuid, attempt: step.attempt }
  if (!isWaitingForHost(instance, key.attempt)) {
    return move !== undefined && instance.attempt === key.attempt
      ? continueMove(ports, record, move, signal)
      : undefined
  }
  if (batch !== null && key.attempt === 1) return continueBatch(ports, key, batch, signal)
  const ignored = await ignoredHosts(ports, record)
  const spec = requestSpec(instance, ignored, record)
  const ask = async () => {
    await refuseLivingSource(ports, record, signal)
    return ports.askForHost(context, spec, signal)
  }
  const answer = placeOf(record, await askScheduler(ports, context, key, ask, signal))
  // Somebody was faster: a later try, or the deletion of the instance.
  if (answer instanceof StaleAttempt && move === undefined) return
  if ('selection' in answer) {
    if (await goThere(ports, record, answer, signal)) return
  } else if (await isWorthAnotherLook(ports, key, answer)) await lookAgain(ports, key)
  else await database.transaction((tx) => refuse(ports, tx, key, answer, ignored))
  outbox.announce()
}

/** @returns whether that was done, and told, at once */
async function goThere(ports: ConductorPorts, record: InstanceRecord, place: Place, signal: AbortSignal) {
  const { instance, move } = record
  if (move?.type === 'rebuild') await beginRebuild(ports, record, place)
  else if (move?.type === 'live-migration') await prepareLiveMigration(ports, record, move, place, signal)
  else if (move !== undefined && move.type !== 'evacuation') await prepareResize(ports, record, move, place, signal)
  else if (await handOverAtOnce(ports, record, place)) return true
  else {
    const key = { uuid: instance.uuid, attempt: instance.attempt }
    await ports.database.transaction((tx) => handOver(ports, tx, key, place))
  }
  return false
}

async function continueMove(ports: ConductorPorts, record: InstanceRecord, move: MoveRecord, signal: AbortSignal) {
  if (isToSayIfItCame(record)) return continueLiveArrival(ports, record, move, signal)
  if (move.status === 'reverting') return continueReturn(ports, record, move, signal)
  if (move.status === 'accepted' && move.arrived_at !== null) return continueArrival(ports, record, move, signal)
}

/** Where it has failed; of a move, and of one that was shelved, also where it comes from, and where a guest may be that it left earlier. */
async function ignoredHosts(ports: ConductorPorts, record: InstanceRecord) {
  const { instance, move, shelving } = record
  const { database, allowResizeToSameHost } = ports
  // The first try has none behind it.
  const failed = instance.attempt === 1 ? [] : await failedHosts(database, instance.uuid, firstAttemptOf(record))
  if (move === undefined && shelving === undefined) return failed
  if (move?.type === 'rebuild') return []
  const mayStay = move?.type === 'resize' && allowResizeToSameHost
  const left = (await hostsLeft(database, instance.uuid)).filter((host) => !(mayStay && host === move.source_host))
  return [...new Set([...left, ...failed])]
}

/** A host that came back has its guest: there is nothing to evacuate any more. @throws ComputeServiceInUse */
async function refuseLivingSource(ports: ConductorPorts, { context, move }: InstanceRecord, signal: AbortSignal) {
  if (move?.type !== 'evacuation') return
  const source = await hostOf(ports, context, move.source_host, signal)
  if (source?.state === 'up') throw serviceInUse(source)
}
