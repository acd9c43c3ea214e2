import { describe, expect, it } from 'vitest'
import { remembered } from '../../../src/compute/libvirt/remembered.ts'

describe('a reader that remembers', () => {
  it('reads a text again only when others have come in its place since, and never remembers a failure', () => {
    const seen: string[] = []
    const read = remembered((text) => {
      seen.push(text)
      if (text === 'bad') throw new Error('bad')
      return { text }
    }, 2)

    expect(read('a')).toBe(read('a'))
    for (const text of ['b', 'a', 'c', 'a', 'b']) expect(read(text)).toEqual({ text })
    for (const _ of [1, 2]) expect(() => read('bad')).toThrow('bad')

    expect(seen).toEqual(['a', 'b', 'c', 'b', 'bad', 'bad'])
  })
})
