import { refuseEncrypted } from '../../objects/action-rules.ts'
import type { Instance } from '../../objects/instance.ts'
import { hostToMoveFrom, refuseLostEncryption } from '../../objects/resize-rules.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { acceptMove } from '../accept-move.ts'
import type { ConductorPorts } from '../ports.ts'

export interface LiveMigration {
  readonly instance_uuid: string
  /** Only to this host. */
  readonly host?: string | undefined
}

/**
 * Starts to bring an instance to another host as it runs. When it answers that is stored, and the instance will run there,
 * or where it was, with the reason. Asked again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, OperationNotSupportedForSEV, InstanceInvalidState, ComputeHostNotFound, InvalidArguments, and
 *   what flavor and image contradict each other in
 */
export function acceptLiveMigration(
  ports: ConductorPorts,
  context: RequestContext,
  { instance_uuid, host }: LiveMigration,
  signal: AbortSignal,
): Promise<Instance> {
  return acceptMove(ports, context, { instance_uuid, type: 'live-migration', host, refuse }, signal)
}

/** Encryption is looked at first, as in Nova: no state that the instance could be in would help. */
function refuse(instance: Instance): string {
  refuseEncrypted(instance, 'live-migration')
  const source = hostToMoveFrom(instance, 'live-migration')
  refuseLostEncryption(instance)
  return source
}
