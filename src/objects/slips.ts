/**
 * Can `written` have become of `meant` by at most so many slips: a letter left out, added, taken for another, or two
 * neighbours changed places? (Optimal string alignment, a restricted Damerau-Levenshtein distance.)
 */
export function isWithinSlips(written: string, meant: string, slips: number): boolean {
  if (Math.abs(written.length - meant.length) > slips) return false
  // Rows of the table of distances between beginnings: two letters back, one back, and this one.
  let older: number[] = []
  let old = Array.from({ length: meant.length + 1 }, (_, length) => length)
  for (let i = 1; i <= written.length; i++) {
    const row = [i]
    for (let j = 1; j <= meant.length; j++) {
      const isSame = written[i - 1] === meant[j - 1]
      // Before the first letter there is none, which is no letter of the other.
      const isSwapped = written[i - 1] === meant[j - 2] && written[i - 2] === meant[j - 1]
      const swapped = isSwapped ? at(older, j - 2) + 1 : Number.POSITIVE_INFINITY
      row.push(Math.min(at(old, j) + 1, at(row, j - 1) + 1, at(old, j - 1) + (isSame ? 0 : 1), swapped))
    }
    older = old
    old = row
  }
  return at(old, meant.length) <= slips
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY
}
