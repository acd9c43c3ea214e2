/** xmlbuilder2's form of an element: `@name` is an attribute, `#` the text; undefined members are left out. */
export type Element = { readonly [name: string]: unknown }

export function withoutUndefined(element: Element): Element {
  const kept: Record<string, unknown> = {}
  for (const name in element) if (element[name] !== undefined) kept[name] = element[name]
  return kept
}

/** Most values: nothing in them needs a second look. */
const PLAIN = /^[ -%'-~]*$/
/** What no XML 1.0 document can carry, however it is written (section 2.2): controls, and halves of characters. */
const UNWRITABLE = /[^\t\n\r\P{Cc}\u007f-\u009f]|[\p{Cs}\ufffe\uffff]/u

/**
 * The tree with every value made fit to be written. xmlbuilder2 takes `&lt;` in a value for markup that is escaped
 * already, decodes it, and does not escape it again: whoever reads it gets `<`. So `&` is escaped here always, once for
 * the library and once for the reader. Line ends are written as references where readers would make others of them.
 *
 * @throws RangeError naming what cannot be written
 */
export function written(value: unknown, isAttribute = false): unknown {
  if (typeof value === 'string') return PLAIN.test(value) ? value : writtenText(value, isAttribute)
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map((item) => written(item))
  const element: Record<string, unknown> = {}
  for (const name in value) element[name] = written((value as Element)[name], name.startsWith('@'))
  return element
}

function writtenText(text: string, isAttribute: boolean): string {
  const found = UNWRITABLE.exec(text)
  if (found !== null) {
    const code = found[0].charCodeAt(0).toString(16).padStart(4, '0')
    throw new RangeError(`${JSON.stringify(text.slice(0, 64))} has the character U+${code.toUpperCase()}`)
  }
  const references = isAttribute ? /[\r\n\t]/g : /\r/g
  return text
    .replaceAll('&', '&amp;amp;')
    .replaceAll(references, (character) => `&#x${character.charCodeAt(0).toString(16)};`)
}
