import { describe, expect, it } from 'vitest'
import { Rollback, type UndoFailure } from '../../src/compute/rollback.ts'

describe('a rollback', () => {
  it('undoes newest first, those that fail included, and tells which failed', async () => {
    const undone: string[] = []
    const failures: UndoFailure[] = []
    const error = new Error('stuck')
    {
      await using rollback = new Rollback((failure) => failures.push(failure))
      rollback.add('one', async () => void undone.push('one'))
      rollback.add('two', () => Promise.reject(error))
      rollback.add('three', async () => void undone.push('three'))
    }

    expect(undone).toEqual(['three', 'one'])
    expect(failures).toEqual([{ step: 'two', error }])
  })

  it('undoes nothing after a commit', async () => {
    const undone: string[] = []
    {
      await using rollback = new Rollback(() => {})
      rollback.add('one', async () => void undone.push('one'))
      rollback.commit()
    }

    expect(undone).toEqual([])
  })
})
