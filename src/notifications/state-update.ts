import { z } from 'zod'
import type { Instance } from '../objects/instance.ts'
import { taskWord } from './instance-words.ts'
import { InstanceStateUpdatePayload } from './payloads.ts'

/** Nova's option of this name: of which changes `instance.update` tells. */
export const NotifyOnStateChange = z.enum(['never', 'vm_state', 'vm_and_task_state'])
export type NotifyOnStateChange = z.infer<typeof NotifyOnStateChange>

type States = Pick<Instance, 'vm_state' | 'task_state'>

/**
 * From what to what an instance has changed; undefined: nothing that is told.
 *
 * Who asked for states alone is told what the task is, and not what it was. Source: Nova's configuration reference.
 *
 * @param before undefined: it is new
 */
export function stateUpdate(setting: NotifyOnStateChange, before: States | undefined, after: States) {
  const hasNewState = before?.vm_state !== after.vm_state
  const hasNewTask = taskWord(before?.task_state) !== taskWord(after.task_state)
  const isTold = hasNewState || (hasNewTask && setting === 'vm_and_task_state')
  if (setting === 'never' || !isTold) return undefined
  return InstanceStateUpdatePayload.wrap({
    old_state: before?.vm_state ?? null,
    state: after.vm_state,
    old_task_state: taskWord((setting === 'vm_state' ? after : before)?.task_state),
    new_task_state: taskWord(after.task_state),
  })
}
