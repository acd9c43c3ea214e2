import { SevbusError, StaleAttempt } from '../errors.ts'
import { askScheduler, isWorthAnotherLook, lookAgain } from './ask-scheduler.ts'
import { failedHosts } from './attempt-store.ts'
import { continueBatch } from './continue-batch.ts'
import { findInstance } from './instance-store.ts'
import { handOver, isWaitingForHost, placeOf, refuse } from './placing.ts'
import type { ConductorPorts } from './ports.ts'
import { requestSpec } from './request-spec.ts'

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
  const { instance, context, batch } = await findInstance(database, step.instance_uuid)
  const key = { uuid: instance.uuid, attempt: step.attempt }
  if (!isWaitingForHost(instance, key.attempt)) return
  if (batch !== null && key.attempt === 1) return continueBatch(ports, key, batch, signal)
  const ignored = await failedHosts(database, instance.uuid)
  const args = { request_spec: requestSpec(instance, ignored) }
  const ask = async () => (await scheduler.selectDestinations(context, args, { signal })).selection
  const answer = placeOf(instance, await askScheduler(ports, context, key, ask, signal))
  // Somebody was faster: a later try, or the deletion of the instance.
  if (answer instanceof StaleAttempt) return
  if (!(answer instanceof SevbusError)) await database.transaction((tx) => handOver(ports, tx, key, answer))
  else if (await isWorthAnotherLook(ports, key, answer)) await lookAgain(ports, key)
  else await database.transaction((tx) => refuse(ports, tx, key, answer, ignored))
  outbox.announce()
}
