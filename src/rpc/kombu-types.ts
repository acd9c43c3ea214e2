import { InvalidMessage } from '../errors.ts'

/** Values that are text on the wire, and stay that. */
const TEXTS = ['datetime', 'date', 'time', 'decimal', 'bytes', 'base64']

/**
 * kombu 5.3 and later write Python's types as `{"__type__": …, "__value__": …}` into messages without envelope, and read
 * them back wherever they are. Here they become the text that older ones write.
 *
 * @throws InvalidMessage for a type that kombu has not, either: it refuses the message
 */
export function withoutKombuTypes(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return value.map(withoutKombuTypes)
  const entries = Object.entries(value).map(([key, child]) => [key, withoutKombuTypes(child)] as const)
  if (entries.length === 2 && '__type__' in value && '__value__' in value) return textOf(Object.fromEntries(entries))
  return Object.fromEntries(entries)
}

function textOf({ __type__: type, __value__: value }: { [key: string]: unknown }): string {
  if (TEXTS.some((text) => text === type) && typeof value === 'string') return value
  const hex = type === 'uuid' ? /^\{"hex":"([0-9a-f]{32})"\}$/.exec(JSON.stringify(value))?.[1] : undefined
  if (hex !== undefined) return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
  throw new InvalidMessage('an object has __type__ and __value__, and is none of the types that kombu writes so')
}
