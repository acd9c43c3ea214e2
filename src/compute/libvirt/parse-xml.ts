import { XMLParser, XMLValidator } from 'fast-xml-parser'
import { InvalidDomainXml } from '../../errors.ts'

/**
 * Domain capabilities are the longest: 9 kB of libvirt 9.0, 147 kB of 11.3, which says of each model of processor what
 * keeps it from this host. Seven times that is room for more of them.
 */
export const MAX_CHARACTERS = 1024 * 1024

/** An element: its text, its attributes by `@name`, its children by name, always as a list. */
export interface XmlElement {
  readonly [name: string]: string | readonly XmlElement[]
}

/** Values stay text: `0x33` and `0012` would be changed by the library's conversion. */
const OPTIONS = {
  ignoreAttributes: false,
  attributeNamePrefix: '@',
  parseTagValue: false,
  parseAttributeValue: false,
  alwaysCreateTextNode: true,
  ignoreDeclaration: true,
  ignorePiTags: true,
  isArray: (_name: string, _path: unknown, _isLeaf: boolean, isAttribute: boolean) => !isAttribute,
}
/** `htmlEntities` is the library's name for references by number, `&#xA;`, which names may have. */
const parser = new XMLParser({ ...OPTIONS, htmlEntities: true })
/** For documents without any, as most are: to look for them in each value is a quarter of the work. */
const parserWithoutReferences = new XMLParser({ ...OPTIONS, processEntities: false })

/**
 * Reads a document from outside: bounded, well-formed (which the parser alone does not insist on), without a DTD and so
 * without entities of its own.
 *
 * @param what names the document in errors
 * @returns its root element
 * @throws InvalidDomainXml
 */
export function parseXml(text: string, rootName: string, what: string): XmlElement {
  if (text.length > MAX_CHARACTERS) throw new InvalidDomainXml(`${what} is longer than ${MAX_CHARACTERS} characters`)
  if (/<!DOCTYPE/i.test(text)) throw new InvalidDomainXml(`${what} has a DOCTYPE, which libvirt never writes`)
  const valid = XMLValidator.validate(text)
  if (valid !== true)
    throw new InvalidDomainXml(`${what} is not well-formed: ${valid.err.msg}`, { line: valid.err.line })
  const roots = Object.entries(parse(text, what)).filter(([name]) => name !== '#text')
  const [root, second] = roots.flatMap(([name, found]) => (name === rootName && typeof found !== 'string' ? found : []))
  if (root !== undefined && second === undefined && roots.length === 1) return root
  throw new InvalidDomainXml(`${what} is not one <${rootName}>`)
}

function parse(text: string, what: string): XmlElement {
  try {
    return (text.includes('&') ? parser : parserWithoutReferences).parse(text) as XmlElement
  } catch (error) {
    throw new InvalidDomainXml(`${what} cannot be read: ${(error as Error).message}`, {}, { cause: error })
  }
}

export function children(element: XmlElement | undefined, name: string): readonly XmlElement[] {
  const found = element !== undefined && Object.hasOwn(element, name) ? element[name] : undefined
  return Array.isArray(found) ? found : []
}

/** The first element along a path of names. */
export function child(element: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  return path.reduce<XmlElement | undefined>((parent, name) => children(parent, name)[0], element)
}

export function attribute(element: XmlElement | undefined, name: string): string | undefined {
  const value = element?.[`@${name}`]
  return typeof value === 'string' ? value : undefined
}

export function textOf(element: XmlElement | undefined): string | undefined {
  const value = element?.['#text']
  return typeof value === 'string' ? value : undefined
}
