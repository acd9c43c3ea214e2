import { describe, expect, it } from 'vitest'
import { attribute, child, children, parseXml, textOf } from '../../../src/compute/libvirt/parse-xml.ts'

const invalid = expect.objectContaining({ code: 'INVALID_DOMAIN_XML' })

describe('a document from outside', () => {
  it('keeps its values as text', () => {
    const root = parseXml('<a policy="0x33"><n>0012</n><n>1e5</n><e/><t> x &lt; y </t></a>', 'a', 'the test')

    expect(attribute(root, 'policy')).toBe('0x33')
    expect(children(root, 'n').map(textOf)).toEqual(['0012', '1e5'])
    expect(child(root, 'e')).toBeDefined()
    expect(textOf(child(root, 't'))).toBe('x < y')
    expect(child(root, 'not', 'there')).toBeUndefined()
  })

  it.each([
    ['nothing', ''],
    ['another root', '<b/>'],
    ['an end that is missing', '<a><b>1</a>'],
    ['two roots', '<a/><a/>'],
    ['an entity of its own', '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'],
    ['a DTD from elsewhere', '<!doctype a SYSTEM "http://example.org/a.dtd"><a/>'],
    ['too much', `<a>${'x'.repeat(1024 * 1024)}</a>`],
    ['a name that poisons objects', '<a><__proto__><x/></__proto__></a>'],
  ])('is refused when it has %s', (_, text) => {
    expect(() => parseXml(text, 'a', 'the test')).toThrow(invalid)
  })

  it('is refused when it nests without end, instead of filling the stack', () => {
    const deep = 20_000
    expect(() => parseXml('<a>'.repeat(deep) + '</a>'.repeat(deep), 'a', 'the test')).toThrow(invalid)
  })
})
