import { describe, expect, it } from 'vitest'
import { type NotifyOnStateChange, stateUpdate } from '../../src/notifications/state-update.ts'

const scheduling = { vm_state: 'building', task_state: 'scheduling' } as const
const spawning = { vm_state: 'building', task_state: 'spawning' } as const
const active = { vm_state: 'active', task_state: null } as const

type States = Parameters<typeof stateUpdate>[2]

function told(setting: NotifyOnStateChange, before: States | undefined, after: States) {
  const data = stateUpdate(setting, before, after)?.['nova_object.data']
  return data && [data.old_state, data.state, data.old_task_state, data.new_task_state]
}

describe('instance.update', () => {
  it('tells of states and of tasks, or of states alone, or of nothing', () => {
    const changes = [
      [undefined, scheduling],
      [scheduling, spawning],
      [spawning, active],
      [active, active],
    ] as const
    const all = (setting: NotifyOnStateChange) => changes.map(([before, after]) => told(setting, before, after))

    expect(all('vm_and_task_state')).toEqual([
      [null, 'building', null, 'scheduling'],
      ['building', 'building', 'scheduling', 'spawning'],
      ['building', 'active', 'spawning', null],
      undefined,
    ])
    // As Nova has it: the task is what it is, before and after.
    expect(all('vm_state')).toEqual([
      [null, 'building', 'scheduling', 'scheduling'],
      undefined,
      ['building', 'active', null, null],
      undefined,
    ])
    expect(all('never')).toEqual([undefined, undefined, undefined, undefined])
  })

  it('tells nothing of tasks that Nova has no word for', () => {
    const attaching = { vm_state: 'active', task_state: 'attaching-volume' } as const

    expect(told('vm_and_task_state', active, attaching)).toBeUndefined()
  })
})
