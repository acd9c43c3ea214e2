import { InstanceInvalidState } from '../../errors.ts'
import type { Flavor } from '../../objects/flavor.ts'
import type { Instance } from '../../objects/instance.ts'
import { encryptionOfResize, hostToMoveFrom, refuseLostEncryption } from '../../objects/resize-rules.ts'
import type { RequestContext } from '../../rpc/request-context.ts'
import { acceptMove } from '../accept-move.ts'
import type { InstanceRecord } from '../instance-store.ts'
import type { MoveRecord } from '../migration-store.ts'
import type { ConductorPorts } from '../ports.ts'

export interface Resize {
  readonly instance_uuid: string
  /** Absent: it keeps its flavor, and goes to another host. */
  readonly flavor?: Flavor | undefined
  /** Only to this host. */
  readonly host?: string | undefined
}

/**
 * Starts to bring an instance that rests to another host, or to another size. When it answers that is stored, and the
 * instance will be `resized`, or be where it was, with the reason. Its guest goes off only when a host has a place for it
 * and has said that it can take it. Asked again while it is under way, nothing is done twice.
 *
 * @throws InstanceNotFound, InstanceInvalidState, CannotResizeToSameFlavor, CannotResizeDisk, ComputeHostNotFound,
 *   InvalidArguments, and what flavor and image contradict each other in
 */
export function acceptResize(
  ports: ConductorPorts,
  context: RequestContext,
  asked: Resize,
  signal: AbortSignal,
): Promise<Instance> {
  const type = asked.flavor === undefined ? 'migration' : 'resize'
  const refuse = (instance: Instance) => refuseResize(instance, asked)
  return acceptMove(ports, context, { ...asked, type, refuse }, signal)
}

/** @returns the host that it is on */
function refuseResize(instance: Instance, { flavor }: Resize): string {
  const source = hostToMoveFrom(instance, flavor === undefined ? 'migrate' : 'resize')
  if (flavor === undefined) refuseLostEncryption(instance)
  else encryptionOfResize(instance, flavor)
  return source
}

/** @throws InstanceInvalidState when there is nothing to decide about */
export function moveToDecide({ instance, move }: InstanceRecord, what: 'confirm' | 'revert'): MoveRecord {
  const { uuid, vm_state, task_state } = instance
  if (vm_state === 'resized' && task_state === null && move?.status === 'finished') return move
  const is = task_state === null ? vm_state : `${vm_state} and busy (${task_state})`
  const fix = `wait until it is resized; see how it is with: sevbus show ${uuid}`
  throw new InstanceInvalidState(`instance ${uuid} is ${is}: there is no resize to ${what}; ${fix}`, {
    instance_uuid: uuid,
    vm_state,
    task_state,
    allowed: ['resized'],
    fix,
  })
}
