/** A string, to its end or the text's; or one of the three that Python writes and JSON has not. */
const STRING_OR_NUMBER = /"[^"\\]*(?:\\[\s\S][^"\\]*)*(?:"|\\?$)|-?\b(?:NaN|Infinity)\b/g

/**
 * What can be had of a text that `parseJson` refuses: NaN and Infinity become null, and large numbers are only near what
 * was written. For finding out who waits and what went wrong, never for values that somebody works with.
 *
 * @returns undefined when it is no JSON at all
 */
export function parseLeniently(text: string): unknown {
  try {
    return JSON.parse(text.replace(STRING_OR_NUMBER, (found) => (found.startsWith('"') ? found : 'null')))
  } catch {
    return undefined
  }
}
