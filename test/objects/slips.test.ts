import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isWithinSlips } from '../../src/objects/slips.ts'

describe('slips of the finger', () => {
  it.each([
    ['memory', 0],
    ['memry', 1],
    ['memoory', 1],
    ['memery', 1],
    ['meomry', 1],
    ['emmory', 1],
    ['memoyr', 1],
    ['mmory', 1],
    ['emory', 1],
    ['memo', 2],
    ['emmoyr', 2],
    ['nenory', 2],
    ['omemry', 2],
    ['', 6],
  ])('%s is memory with %i of them', (written, slips) => {
    expect(isWithinSlips(written, 'memory', slips)).toBe(true)
    expect(isWithinSlips('memory', written, slips)).toBe(true)
    if (slips > 0) expect(isWithinSlips(written, 'memory', slips - 1)).toBe(false)
  })

  it('are two where only one of two neighbours is at the other place', () => {
    expect(isWithinSlips('xa', 'ay', 1)).toBe(false)
    expect(isWithinSlips('yb', 'ay', 1)).toBe(false)
    expect(isWithinSlips('ya', 'ay', 1)).toBe(true)
  })

  it('are no more than were made', () => {
    const word = fc.string({ unit: fc.constantFrom(...'abcde'), minLength: 2, maxLength: 12 })
    const slip = fc.record({
      kind: fc.constantFrom('drop', 'add', 'change', 'swap'),
      place: fc.nat(),
      letter: fc.constantFrom(...'abcde'),
    })
    fc.assert(
      fc.property(word, fc.array(slip, { maxLength: 3 }), (meant, slips) => {
        const written = slips.reduce((text, { kind, place, letter }) => {
          const at = place % Math.max(text.length, 1)
          const [before, here, after] = [text.slice(0, at), text.slice(at, at + 1), text.slice(at + 1)]
          if (kind === 'drop') return before + after
          if (kind === 'add') return before + letter + here + after
          return kind === 'change' ? before + letter + after : before + after.slice(0, 1) + here + after.slice(1)
        }, meant)

        // A letter that is swapped and changed later is two slips, but may be no place for the restricted distance.
        const isPlain = slips.every(({ kind }) => kind !== 'swap') || slips.length < 2
        if (isPlain) expect(isWithinSlips(written, meant, slips.length)).toBe(true)
      }),
    )
  })
})
