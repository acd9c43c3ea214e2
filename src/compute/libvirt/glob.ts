/**
 * Is the whole text of the pattern? `*` is any characters, `?` one, `[a-c]` one of a set and `[!a-c]` one that is not of
 * it, `\` takes what follows as it is: fnmatch(3) without flags.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  const parts = pattern.matchAll(/\*+|\?|\[!?\]?[^\]]*\]|\\[\s\S]|[\s\S]/g)
  return new RegExp(`^${[...parts].map(([part]) => expressionOf(part)).join('')}$`, 's').test(text)
}

function expressionOf(part: string): string {
  if (part.startsWith('*')) return '.*'
  if (part === '?') return '.'
  if (part.startsWith('[') && part.length > 1) return setOf(part)
  return escaped(part.length === 2 ? part.slice(1) : part)
}

/** A range whose ends are the wrong way round holds nothing, which a regular expression would refuse to be. */
function setOf(part: string): string {
  const isNegated = part.startsWith('[!')
  const members = part.slice(isNegated ? 2 : 1, -1)
  const ranges = [...members.matchAll(/([\s\S])-([\s\S])|[\s\S]/g)].flatMap(([all, from, to]) => {
    if (from === undefined || to === undefined) return [escaped(all)]
    return from <= to ? [`${escaped(from)}-${escaped(to)}`] : []
  })
  return `[${isNegated ? '^' : ''}${ranges.join('')}]`
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/-]/g, String.raw`\$&`)
}
