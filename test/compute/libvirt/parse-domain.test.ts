import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseDomain } from '../../../src/compute/libvirt/parse-domain.ts'
import { parseXml } from '../../../src/compute/libvirt/parse-xml.ts'

const GOLDEN = join(import.meta.dirname, '../golden')
const UUID = '7d5d3a3e-0c0b-4c2f-9a51-2f6a8f0d1c11'
const OTHER_UUID = 'e1b6f1d0-5e0e-4f0c-8f5f-6a7f3a1b2c3d'

/** What there is to stumble over between values; `v` stands for a value. */
const PIECES = ['<a>', '</a>', '<b x="v" y=\'v\'/>', '<b x=', '="v"', "='v'", '>v<', 'v', '"', "'", '=', '>', '/>', ' ']
const TRAPS = ['<!--', '-->', '<![CDATA[', ']]>', '<?v v="v"?>', '&lt;', '&#x41;', '&', '\ue0000\ue000', '\ue000', '<']
const bodies = fc.array(fc.constantFrom(...PIECES, ...PIECES, ...TRAPS), { maxLength: 12 })
const values = fc.array(fc.constantFrom('v', '0', '007', 'a b', '--', '/x/y.z', 'é', 'a&amp;b', 'x>y', ' v ', '-'), {
  minLength: 1,
  maxLength: 5,
})

describe('the document of a domain', () => {
  it.each(readdirSync(GOLDEN))('%s is read as the library reads it, of one guest and of the next', (name) => {
    const text = readFileSync(join(GOLDEN, name), 'utf8')
    const next = text
      .replaceAll(UUID, OTHER_UUID)
      .replaceAll('vm-1', 'vm-2')
      .replace(/(<memory[^>]*>)\d+/, '$1777')

    for (const document of [text, next, text]) {
      expect(parseDomain(document)).toEqual(parseXml(document, 'domain', 'the domain'))
    }
  })

  it('is read as the library reads it, or refused alike, whatever is in it', () => {
    const seen = { read: 0, refused: 0 }
    fc.assert(
      fc.property(bodies, fc.array(values, { minLength: 1, maxLength: 3 }), (pieces, guests) => {
        // One after the other, so that the shape of the first is there for the others.
        for (const own of guests) {
          let n = 0
          const body = pieces.join('').replaceAll('v', () => own[n++ % own.length] as string)
          const document = `<domain type='kvm'>${body}</domain>`
          const outcome = read(() => parseDomain(document))
          expect(outcome).toEqual(read(() => parseXml(document, 'domain', 'the domain')))
          seen['refusal' in outcome ? 'refused' : 'read']++
        }
      }),
      { numRuns: 1500, seed: 20_260_102 },
    )
    // The property says nothing if hardly anything is read, or refused.
    expect(Math.min(seen.read, seen.refused)).toBeGreaterThan(300)
  })

  it.each(['&#xe000;0&#xE000;', '&#57344;0&#57344;'])('is read as it stands where somebody has written %s', (mark) => {
    const document = `<domain><name>vm-1</name><title note="${mark}">${mark}</title></domain>`

    expect(parseDomain(document)).toEqual(parseXml(document, 'domain', 'the domain'))
  })

  it('that is too long is refused, though its shape is short', () => {
    const long = `<domain><name>${'x'.repeat(1024 * 1024)}</name></domain>`

    expect(() => parseDomain(long)).toThrow(expect.objectContaining({ code: 'INVALID_DOMAIN_XML' }))
  })
})

function read(parse: () => unknown): { readonly value: unknown } | { readonly refusal: string } {
  try {
    return { value: parse() }
  } catch (error) {
    return { refusal: (error as Error).message }
  }
}
