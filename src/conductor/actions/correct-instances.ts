import type { z } from 'zod'
import { InstanceNotFound } from '../../errors.ts'
import { correctionOf } from '../../objects/guest-deviation.ts'
import type { Instance } from '../../objects/instance.ts'
import type { InstanceAction } from '../../objects/instance-action.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import type { actionMethods } from '../action-methods.ts'
import { lockInstance } from '../instance-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { lastActionNumber } from './action-store.ts'
import { beginAction } from './begin-action.ts'

type Report = z.output<(typeof actionMethods)['reportGuestStates']['input']>
type Seen = Report['guests'][number]

/**
 * A host has looked at its guests: instances follow what these do. Each is corrected by an action as if somebody had asked
 * for it, so that its host, its notifications and whoever bills for it hear of it the usual way.
 */
export async function correctInstances(ports: ConductorPorts, context: RequestContext, report: Report): Promise<void> {
  for (const seen of report.guests) {
    await correct(ports, context, report, seen).catch((error: unknown) => {
      // Of guests that no conductor knows the audit tells.
      if (!(error instanceof InstanceNotFound)) throw error
    })
  }
  ports.outbox.announce()
}

async function correct(ports: ConductorPorts, context: RequestContext, report: Report, seen: Seen): Promise<void> {
  await ports.database.transaction(async (tx) => {
    const { instance } = await lockInstance(tx, seen.instance_uuid)
    if (instance.host !== report.host || instance.attempt !== seen.attempt || instance.task_state !== null) return
    // What was done since the host looked may be why its guest was like that.
    if ((await lastActionNumber(tx, instance.uuid)) !== seen.last_action) return
    const action = actionFor(instance, seen)
    if (action === undefined) return
    const facts = { instance_uuid: instance.uuid, host: report.host, guest: seen.state, action: action.name }
    ports.logger.warn(
      { ...facts, request_id: context.request_id },
      `instance ${instance.uuid} is ${instance.vm_state}, and its guest is ${seen.state}: it is corrected`,
    )
    await beginAction(ports, tx, context, instance, action)
  })
}

function actionFor({ vm_state }: Instance, { state, resume }: Seen): InstanceAction | undefined {
  const correction = correctionOf(vm_state, state)
  if (correction === undefined || correction === 'told') return undefined
  if (resume && vm_state === 'active') return { name: 'reboot', reboot_type: 'HARD' }
  return { name: 'stop', clean_shutdown: correction === 'stop', observed: state }
}
