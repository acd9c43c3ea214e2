import { describe, expect, it } from 'vitest'
import { hostToLeave } from '../../src/conductor/refuse-evacuation.ts'
import type { Instance } from '../../src/objects/instance.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { anInstance } from '../compute/support/instances.ts'

const INSTANCE = anInstance()
const UUID = INSTANCE.uuid

function recordOf(changes: Partial<Instance>) {
  const resting = { vm_state: 'active', task_state: null, host: 'h1' } as const
  const instance: Instance = { ...INSTANCE, ...resting, ...changes }
  return { instance, context: newRequestContext(), batch: null, userDataDigest: null }
}

describe('what can be evacuated from a dead host', () => {
  it.each(['active', 'stopped', 'error', 'paused', 'suspended', 'rescued'] as const)(
    'is an instance that is %s on a host',
    (vm_state) => {
      expect(hostToLeave(recordOf({ vm_state }))).toBe('h1')
    },
  )

  it.each<[Partial<Instance>, string]>([
    [
      { vm_state: 'resized' },
      `is resized, which is not decided, and cannot be evacuated: go back first: sevbus resize-revert ${UUID}`,
    ],
    [
      { vm_state: 'shelved', task_state: 'shelving_offloading' },
      `is being shelved and cannot be evacuated: its host is about to let go of it; see how far it is with: sevbus explain ${UUID}`,
    ],
    [
      { vm_state: 'shelved_offloaded', host: null },
      `is shelved and cannot be evacuated: unshelve it: sevbus unshelve ${UUID}`,
    ],
    [
      { vm_state: 'error', host: null },
      'is in error and on no host and cannot be evacuated: delete it and boot it anew',
    ],
  ])('is none with %j, and the error says what to do', (changes, words) => {
    expect(() => hostToLeave(recordOf(changes))).toThrow(`instance ${UUID} ${words}`)
  })
})
