/** An element: `@name` is an attribute, `#` the text, a list as many elements of one name; undefined members are left out. */
export type Element = { readonly [name: string]: unknown }

export function withoutUndefined(element: Element): Element {
  const kept: Record<string, unknown> = {}
  for (const name in element) if (element[name] !== undefined) kept[name] = element[name]
  return kept
}

/**
 * The tree as a document, indented by two blanks. Names are ours and are not looked at; values are anybody's.
 *
 * @throws RangeError naming what cannot be written
 */
export function writtenXml(tree: Element): string {
  let document = ''
  for (const name in tree) document += elements(name, tree[name], '')
  return document.slice(1)
}

/** Each begins with the end of the line before it. */
function elements(name: string, value: unknown, indent: string): string {
  if (value === undefined) return ''
  if (typeof value !== 'object') return element(name, '', escapedText(String(value)), indent)
  if (Array.isArray(value)) return value.map((item) => elements(name, item, indent)).join('')
  let attributes = ''
  let content = ''
  for (const member in value) {
    const inner = (value as Element)[member]
    if (inner === undefined) continue
    if (member === '#') content += escapedText(String(inner))
    else if (member.startsWith('@')) attributes += ` ${member.slice(1)}="${escapedAttribute(String(inner))}"`
    else content += elements(member, inner, `${indent}  `)
  }
  return element(name, attributes, content.startsWith('\n') ? `${content}\n${indent}` : content, indent)
}

function element(name: string, attributes: string, content: string, indent: string): string {
  const opening = `\n${indent}<${name}${attributes}`
  return content === '' ? `${opening}/>` : `${opening}>${content}</${name}>`
}

/** Most values: nothing in them needs a second look. */
const PLAIN = /^[ !#$%'-;=?-~]*$/
/** What no XML 1.0 document can carry, however it is written (section 2.2): controls, and halves of characters. */
const UNWRITABLE = /[^\t\n\r\P{Cc}\u007f-\u009f]|[\p{Cs}\ufffe\uffff]/u
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** Line ends are written as references where readers would make others of them (sections 2.11 and 3.3.3). */
function escapedText(text: string): string {
  return escaped(text, /[&<>\r]/g)
}

function escapedAttribute(text: string): string {
  return escaped(text, /[&<>"\r\n\t]/g)
}

function escaped(text: string, special: RegExp): string {
  if (PLAIN.test(text)) return text
  const found = UNWRITABLE.exec(text)
  if (found !== null) {
    const code = found[0].charCodeAt(0).toString(16).padStart(4, '0')
    throw new RangeError(`${JSON.stringify(text.slice(0, 64))} has the character U+${code.toUpperCase()}`)
  }
  return text.replaceAll(special, (character) => ENTITIES[character] ?? `&#x${character.charCodeAt(0).toString(16)};`)
}
