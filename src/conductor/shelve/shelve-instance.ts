import { randomUUID } from 'node:crypto'
import type { Instance } from '../../objects/instance.ts'
import { shelvedImage } from '../../objects/snapshot-image.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { acceptAction } from '../actions/accept-action.ts'
import { findInstance } from '../instance-store.ts'
import type { ConductorPorts } from '../ports.ts'
import { isShelved } from './shelving-store.ts'

/**
 * Has an instance put away: an action that makes an image of its disk, after which its host lets go of it. Asked again, it is
 * nothing.
 *
 * @throws InstanceNotFound, InstanceInvalidState
 */
export async function shelveInstance(
  ports: ConductorPorts,
  context: RequestContext,
  uuid: string,
  clean_shutdown: boolean,
): Promise<Instance> {
  const { instance, action: current, shelving } = await findInstance(ports.database, uuid)
  if (isShelved(instance) && shelving?.first_attempt === null) return instance
  const begun = current?.action.name === 'shelve' ? current.action : undefined
  const image = begun?.image ?? shelvedImage(instance, randomUUID())
  return acceptAction(ports, context, uuid, { name: 'shelve', clean_shutdown, image })
}
