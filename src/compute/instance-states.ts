import type { Fault } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'

/** A new instance is created by its build; one that was evacuated lives already, and is rebuilt. */
function isRebuild({ task_state }: Pick<Instance, 'task_state'>): boolean {
  return task_state === 'rebuild_spawning'
}

/** Nova's event for what is done. */
export function buildEvent<P extends 'start' | 'error'>(instance: Pick<Instance, 'task_state'>, phase: P) {
  return isRebuild(instance) ? (`instance.rebuild.${phase}` as const) : (`instance.create.${phase}` as const)
}

/** An instance as this host knows it to be: what its events tell. Times are ISO 8601 in UTC. */
export function spawning(instance: Instance, host: string, now: string): Instance {
  const stage = isRebuild(instance) ? {} : ({ vm_state: 'building', task_state: 'spawning' } as const)
  return { ...instance, host, ...stage, updated_at: now }
}

/** Another host may succeed. */
export function notBuilt(instance: Instance, host: string, fault: Fault): Instance {
  const vm_state = isRebuild(instance) ? instance.vm_state : 'building'
  return { ...instance, host, vm_state, task_state: null, fault, updated_at: fault.created_at }
}

export function deleting(instance: Instance, host: string, now: string): Instance {
  return { ...instance, host, task_state: 'deleting', updated_at: now }
}

export function deleted(instance: Instance, host: string, now: string): Instance {
  return { ...instance, host, vm_state: 'deleted', task_state: null, terminated_at: now, updated_at: now }
}
