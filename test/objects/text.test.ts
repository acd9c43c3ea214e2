import { describe, expect, it } from 'vitest'
import { create } from 'xmlbuilder2'
import { NewFlavor } from '../../src/objects/flavor.ts'
import { NewImageMeta } from '../../src/objects/image-meta.ts'
import { cleanText, text } from '../../src/objects/text.ts'

const MESSAGE = 'must have no control characters, no halves of characters, and neither U+FFFE nor U+FFFF'
const hex = (character: string) => `U+${character.charCodeAt(0).toString(16).padStart(4, '0')}`

const BAD = ['\0', '\u0001', '\t', '\n', '\u001b', '\u007f', '\u0085', '\ud800', '\udc00', '\ufffe', '\uffff']
const GOOD = ['ä', 'ß', '中', '\u00a0', '\ue000', '\ufffd', '🐧', '\u{1fffe}', '\u{10ffff}']

describe('text of a request', () => {
  it.each(BAD.map((character) => [hex(character), character]))('has no %s', (_name, character) => {
    const name = `linux${character}`

    expect(text(255).safeParse(name).error?.issues[0]?.message).toBe(MESSAGE)
    expect(NewImageMeta.safeParse({ name }).success).toBe(false)
    expect(NewImageMeta.safeParse({ name: 'linux', properties: { os_distro: name } }).success).toBe(false)
    expect(NewFlavor.safeParse({ flavorid: '1', name, vcpus: 1, memory_mb: 1, root_gb: 1 }).success).toBe(false)
  })

  it.each(GOOD)('may have %j, which XML carries', (character) => {
    expect(text(255).parse(`linux${character}`)).toBe(`linux${character}`)
    expect(() => create({ name: `linux${character}` }).end({ wellFormed: true })).not.toThrow()
  })
})

describe('text of a failing program', () => {
  it('is cleaned and cut instead, and keeps its lines', () => {
    expect(cleanText('a\tb\nc\u0001\ud800\ufffe\uffffd', 255)).toBe('a\tb\nc\ufffd\ufffd\ufffd\ufffdd')
    expect(cleanText('abc', 2)).toBe('ab')
  })
})
