import { describe, expect, it } from 'vitest'
import { NewSchedulerHints, NO_HINTS, SchedulerHints } from '../../src/objects/scheduler-hints.ts'

const A = 'aaaaaaaa-0000-4000-8000-00000000000a'

describe('scheduler hints', () => {
  it('are none when none is given', () => {
    expect(NewSchedulerHints.parse({})).toEqual(NO_HINTS)
  })

  it('name a group and instances by uuid, in small letters as they are stored', () => {
    expect(NewSchedulerHints.parse({ group: A.toUpperCase(), same_host: [A.toUpperCase()] })).toEqual({
      group: A,
      same_host: [A],
      different_host: [],
    })
  })

  it.each([{ group: 'web' }, { same_host: A }, { different_host: ['web-1'] }, { query: '[">=","$free_ram_mb",1024]' }])(
    'are refused when nobody would follow them: %o',
    (hints) => {
      expect(NewSchedulerHints.safeParse(hints).success).toBe(false)
    },
  )

  it('of a newer release are read by what is known of them', () => {
    expect(SchedulerHints.parse({ group: A, near: 'here' })).toEqual({ ...NO_HINTS, group: A })
  })
})
