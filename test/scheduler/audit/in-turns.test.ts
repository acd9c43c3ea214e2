import { expect, it } from 'vitest'
import { inTurns } from '../../../src/scheduler/audit/in-turns.ts'

it('work in turns comes to its result, and lets others work before it has', async () => {
  let others = 0
  const other = setInterval(() => others++, 0)
  function* work(): Generator<undefined, number> {
    let pieces = 0
    while (others < 3) {
      pieces++
      yield
    }
    return pieces
  }

  const pieces = await inTurns(work())
  clearInterval(other)

  expect(pieces).toBeGreaterThan(3)
})
