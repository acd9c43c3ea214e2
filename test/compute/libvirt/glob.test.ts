import fc from 'fast-check'
import { expect, it } from 'vitest'
import { matchesGlob } from '../../../src/compute/libvirt/glob.ts'

it.each([
  ['pc-q35-*', 'pc-q35-9.2', true],
  ['pc-q35-*', 'pc-q35-', true],
  ['pc-q35-*', 'pc-i440fx-9.2', false],
  ['pc-*', 'pc-q35-9.2', true],
  ['*', 'pc-q35-9.2', true],
  ['*q35*', 'pc-q35-rhel9.2.0', true],
  ['q35', 'pc-q35-9.2', false],
  ['pc-q35-9.2', 'pc-q35-9x2', false],
  ['pc-q35-?.?', 'pc-q35-9.2', true],
  ['pc-q35-?.?', 'pc-q35-10.0', false],
  ['pc-q35-[89].*', 'pc-q35-9.2', true],
  ['pc-q35-[!0-7].2', 'pc-q35-9.2', true],
  ['pc-q35-[!9].2', 'pc-q35-9.2', false],
  ['pc-q35-[9-0].2', 'pc-q35-9.2', false],
  ['pc-q35-[]9].2', 'pc-q35-9.2', true],
  [String.raw`pc-\*`, 'pc-q35', false],
  [String.raw`pc-\*`, 'pc-*', true],
  ['pc-[q35', 'pc-[q35', true],
  ['', 'pc', false],
])('%s of %s: %s', (pattern, text, matches) => {
  expect(matchesGlob(pattern, text)).toBe(matches)
})

it('takes any pattern, and each text with its signs escaped for itself alone', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), (pattern, text) => {
      matchesGlob(pattern, text)
      const itself = text.replaceAll(/[\\*?[]/g, String.raw`\$&`)
      expect([matchesGlob(itself, text), matchesGlob(itself, `${text}x`)]).toEqual([true, false])
    }),
  )
})
