/**
 * A reader of texts that are mostly the same as before: what it made of the last few is remembered, and given again for the
 * same text.
 *
 * @param read always reads a text alike; what it gives is not changed by anybody
 */
export function remembered<T>(read: (text: string) => T, limit = 8): (text: string) => T {
  const known = new Map<string, T>()
  return (text) => {
    const value = known.has(text) ? (known.get(text) as T) : read(text)
    known.delete(text)
    known.set(text, value)
    const [oldest] = known.size > limit ? known.keys() : []
    if (oldest !== undefined) known.delete(oldest)
    return value
  }
}
