import { MAX_CHARACTERS, parseXml, type XmlElement } from './parse-xml.ts'
import { remembered } from './remembered.ts'

/**
 * A value of characters that mean nothing to a reader of XML, where it fills an element or begins an attribute: what else stands
 * there has the same structure, and is the same for whoever puts it back.
 */
const VALUE = /(=["']|>)([\w.:/-](?:[\w.:/ -]*[\w.:/-])?)(?=["'<])/g
/** Around the number of a value: for private use, so that nobody writes it (and who does has his document read as a whole). */
const MARK = '\ue000'
const MARKED = new RegExp(`${MARK}(\\d+)${MARK}`, 'g')
const SHAPES_KEPT = 16

/** Makes the element of a guest from its values. */
type Filler = (values: readonly string[]) => XmlElement

const fillerOf = remembered((shape) => filler(parseXml(shape, 'domain', 'the domain')), SHAPES_KEPT)

/**
 * Reads the document of a domain as `parseXml` does. Guests of a kind have documents of one shape, in which only names, numbers
 * and paths differ: the library reads each shape once, and the values of a further guest are put into what it has made of that.
 *
 * @throws InvalidDomainXml
 */
export function parseDomain(text: string): XmlElement {
  // A reference by number may stand for the mark.
  if (text.length > MAX_CHARACTERS || text.includes(MARK) || text.includes('&#'))
    return parseXml(text, 'domain', 'the domain')
  const values: string[] = []
  const shape = text.replace(
    VALUE,
    (_, before: string, value: string) => `${before}${MARK}${values.push(value) - 1}${MARK}`,
  )
  let fill: Filler
  try {
    fill = fillerOf(shape)
  } catch {
    // Its refusal is to be about what it says.
    return parseXml(text, 'domain', 'the domain')
  }
  return fill(values)
}

/** Of a domain that runs; undefined: it does not. It is in the document's first tag. */
export function domainIdOf(liveXml: string): number | undefined {
  const [, id] = /^\s*<domain\b[^>]*\sid=["'](\d+)["']/.exec(liveXml) ?? []
  return id === undefined ? undefined : Number(id)
}

type Member = XmlElement[string]

function filler(element: XmlElement): Filler {
  const members = Object.entries(element).map(([name, member]) => [name, memberFiller(member)] as const)
  return (values) => {
    const filled: Record<string, Member> = {}
    for (const [name, fill] of members) filled[name] = fill(values)
    return filled
  }
}

function memberFiller(member: Member): (values: readonly string[]) => Member {
  if (typeof member !== 'string') {
    const fillers = member.map(filler)
    return (values) => fillers.map((fill) => fill(values))
  }
  if (!member.includes(MARK)) return () => member
  const alone = new RegExp(`^${MARKED.source}$`).exec(member)?.[1]
  if (alone === undefined) return (values) => member.replace(MARKED, (_, n) => values[Number(n)] as string)
  const index = Number(alone)
  return (values) => values[index] as string
}
