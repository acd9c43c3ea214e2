import { stripVTControlCharacters } from 'node:util'
import pc from 'picocolors'

/** Columns as wide as their widest cell; colours in cells do not count. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => visibleLength(row[column] ?? ''))),
  )
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - visibleLength(cell)))
      .join('  ')
      .trimEnd()
  return [pc.bold(line(header)), ...rows.map(line)].join('\n')
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}

/** `key  value` lines, for one thing. */
export function facts(pairs: readonly (readonly [string, string])[]): string {
  const width = Math.max(...pairs.map(([key]) => key.length))
  return pairs.map(([key, value]) => `${pc.bold(key.padEnd(width))}  ${value}`).join('\n')
}
