import type { InstanceState } from './instance.ts'

/**
 * Which of the disks that a host has of an instance nobody will ask for again: all of them, where the instance lives elsewhere
 * or nowhere; where it lives here, what was set aside for a move that is over. Undefined: none, or something about it may
 * still be said to this host.
 */
export function strayDisksOf(instance: InstanceState, here: string): 'all' | 'aside' | undefined {
  const { host, leaving, vm_state, task_state, messages_waiting, hosts_waiting } = instance
  const isAtRest = vm_state !== 'building' && task_state === null && !messages_waiting
  if (!isAtRest || leaving === here || hosts_waiting.includes(here)) return undefined
  return host === here ? 'aside' : 'all'
}
