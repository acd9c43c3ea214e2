import { describe, expect, it } from 'vitest'
import { canBecome, VmState } from '../../src/objects/instance.ts'

describe('the states of an instance', () => {
  it('follow each other only as the table says', () => {
    const allowed = VmState.options.flatMap((from) =>
      VmState.options.filter((to) => canBecome(from, to)).map((to) => `${from} → ${to}`),
    )

    expect(allowed).toEqual([
      'building → building',
      'building → active',
      'building → error',
      'building → deleted',
      'active → active',
      'active → paused',
      'active → suspended',
      'active → stopped',
      'active → rescued',
      'active → resized',
      'active → shelved',
      'active → error',
      'active → deleted',
      'paused → active',
      'paused → paused',
      'paused → stopped',
      'paused → shelved',
      'paused → error',
      'paused → deleted',
      'suspended → active',
      'suspended → suspended',
      'suspended → stopped',
      'suspended → error',
      'suspended → deleted',
      'stopped → active',
      'stopped → stopped',
      'stopped → rescued',
      'stopped → resized',
      'stopped → shelved',
      'stopped → error',
      'stopped → deleted',
      'rescued → active',
      'rescued → rescued',
      'rescued → error',
      'rescued → deleted',
      'resized → active',
      'resized → stopped',
      'resized → resized',
      'resized → error',
      'resized → deleted',
      'shelved → shelved',
      'shelved → shelved_offloaded',
      'shelved → deleted',
      'shelved_offloaded → active',
      'shelved_offloaded → shelved_offloaded',
      'shelved_offloaded → deleted',
      'error → active',
      'error → stopped',
      'error → rescued',
      'error → error',
      'error → deleted',
    ])
  })
})
