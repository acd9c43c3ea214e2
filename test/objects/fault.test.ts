import { describe, expect, it } from 'vitest'
import { SpawnFailed } from '../../src/errors.ts'
import { Fault, faultOf } from '../../src/objects/fault.ts'

const AT = '2026-01-01T00:00:00.000Z'

describe('the fault of an instance', () => {
  it('is the error as its owner may read it', () => {
    const fault = faultOf(new SpawnFailed('QEMU ended', { exit_code: 1, fix: 'read its log' }), AT)

    expect(fault).toEqual({
      code: 'SPAWN_FAILED',
      message: 'QEMU ended',
      details: { exit_code: 1, fix: 'read its log' },
      created_at: AT,
    })
    expect(Fault.parse(fault)).toEqual(fault)
  })

  it('has no character that a database does not take, and no message without end', () => {
    const fault = faultOf(new SpawnFailed(`a\u0000b\ud800${'x'.repeat(5000)}`, { log: ['\u0000', '\tkept\n'] }), AT)

    expect(fault.message).toBe(`a\ufffdb\ufffd${'x'.repeat(3996)}`)
    expect(fault.details).toEqual({ log: ['\ufffd', '\tkept\n'] })
  })

  it('leaves out details that are too large to be kept', () => {
    const details = (length: number) => ({ lines: Array(length).fill('x'.repeat(1000)) })

    expect(faultOf(new SpawnFailed('QEMU ended', details(60)), AT).details).toEqual(details(60))
    expect(faultOf(new SpawnFailed('QEMU ended', details(70)), AT).details).toEqual({})
  })
})
