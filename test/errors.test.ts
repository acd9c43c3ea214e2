import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as errors from '../src/errors.ts'
import { ERRORS_BY_CODE, InternalError, SpawnFailed, toSevbusError } from '../src/errors.ts'

describe('published errors', () => {
  const documented = readFileSync('docs/errors.md', 'utf8')
  const rows = [...documented.matchAll(/^\| `([A-Z_]+)` \| (yes|no) \| `([\w.]+)` \|/gm)]

  it('stand in docs/errors.md with their code, whether trying again helps, and their class on the wire', () => {
    const inCode = [...ERRORS_BY_CODE].map(([code, type]) => {
      const error = new type('text')
      return [code, error.retryable ? 'yes' : 'no', `${error.wireModule}.${error.name}`]
    })

    expect(rows.map(([, code, retryable, name]) => [code, retryable, name])).toEqual(inCode)
  })

  it('are all in the table that rebuilds them', () => {
    const codes = Object.values(errors).flatMap((value) => (value as { readonly code?: string }).code ?? [])

    expect(codes.toSorted()).toEqual([...ERRORS_BY_CODE.keys()].toSorted())
  })

  it('keep their cause and their facts', () => {
    const cause = new Error('ENOSPC')
    const error = new SpawnFailed('could not start the guest', { uuid: 'u' }, { cause })

    expect({ ...error, name: error.name, cause: error.cause }).toMatchObject({
      name: 'SpawnFailed',
      code: 'SPAWN_FAILED',
      retryable: true,
      details: { uuid: 'u' },
      cause,
    })
  })

  it('take in whatever was thrown', () => {
    const foreign = new TypeError('x is not a function')

    expect(toSevbusError(foreign)).toMatchObject({
      code: 'INTERNAL_ERROR',
      message: 'TypeError: x is not a function',
      cause: foreign,
    })
    expect(toSevbusError('a word')).toBeInstanceOf(InternalError)
  })
})
