import { StaleAttempt } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { continueArrival } from './arrival.ts'
import { askScheduler, isWorthAnotherLook, lookAgain } from './ask-scheduler.ts'
import { failedHosts } from './attempt-store.ts'
import { continueBatch } from './continue-batch.ts'
import { hostOf } from './host-life.ts'
import { findInstance, type InstanceRecord } from './instance-store.ts'
import { hostsLeft } from './migration-store.ts'
import { handOver, handOverAtOnce, placeOf, refuse } from './placing.ts'
import type { ConductorPorts } from './ports.ts'
import { serviceInUse } from './refuse-evacuation.ts'
import { requestSpec } from './request-spec.ts'
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
  const { database, scheduler, outbox } = ports
  const isReady = (instance: Instance) => isWaitingForHost(instance, step.attempt)
  const seen = await ports.steps.read(step.instance_uuid, isReady)
  const record = seen ?? (await findInstance(database, step.instance_uuid))
  const { instance, context, batch, move } = record
  const key = { uuid: instance.uuid, attempt: step.attempt }
  if (!isWaitingForHost(instance, key.attempt)) {
    const isArriving = move !== undefined && move.arrived_at !== null && instance.attempt === key.attempt
    return isArriving ? continueArrival(ports, record, move, signal) : undefined
  }
  if (batch !== null && key.attempt === 1) return continueBatch(ports, key, batch, signal)
  const ignored = await ignoredHosts(ports, record)
  const args = { request_spec: requestSpec(instance, ignored, move) }
  const ask = async () => {
    await refuseLivingSource(ports, record, signal)
    return (await scheduler.selectDestinations(context, args, { signal })).selection
  }
  const answer = placeOf(instance, await askScheduler(ports, context, key, ask, signal), move)
  // Somebody was faster: a later try, or the deletion of the instance.
  if (answer instanceof StaleAttempt && move === undefined) return
  if ('selection' in answer) {
    if (await handOverAtOnce(ports, record, answer)) return
    await database.transaction((tx) => handOver(ports, tx, key, answer))
  } else if (await isWorthAnotherLook(ports, key, answer)) await lookAgain(ports, key)
  else await database.transaction((tx) => refuse(ports, tx, key, answer, ignored))
  outbox.announce()
}

/** Where it has failed; of a move also where it comes from, and where a guest may be that it left earlier. */
async function ignoredHosts({ database }: ConductorPorts, { instance, move }: InstanceRecord) {
  // The first try has none behind it.
  const failed = instance.attempt === 1 ? [] : await failedHosts(database, instance.uuid, move?.first_attempt)
  return move === undefined ? failed : [...new Set([...(await hostsLeft(database, instance.uuid)), ...failed])]
}

/** A host that came back has its guest: there is nothing to evacuate any more. @throws ComputeServiceInUse */
async function refuseLivingSource(ports: ConductorPorts, { context, move }: InstanceRecord, signal: AbortSignal) {
  if (move?.type !== 'evacuation') return
  const source = await hostOf(ports, context, move.source_host, signal)
  if (source?.state === 'up') throw serviceInUse(source)
}
