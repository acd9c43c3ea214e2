import type { Fault } from '../objects/fault.ts'
import type { Instance } from '../objects/instance.ts'

/** An instance as this host knows it to be: what its events tell. Times are ISO 8601 in UTC. */
export function spawning(instance: Instance, host: string, now: string): Instance {
  return { ...instance, host, vm_state: 'building', task_state: 'spawning', updated_at: now }
}

/** Still building: another host may succeed. */
export function notBuilt(instance: Instance, host: string, fault: Fault): Instance {
  return { ...instance, host, vm_state: 'building', task_state: null, fault, updated_at: fault.created_at }
}

export function deleting(instance: Instance, host: string, now: string): Instance {
  return { ...instance, host, task_state: 'deleting', updated_at: now }
}

export function deleted(instance: Instance, host: string, now: string): Instance {
  return { ...instance, host, vm_state: 'deleted', task_state: null, terminated_at: now, updated_at: now }
}
