import { readFileSync } from 'node:fs'
import { SourceMap } from 'node:module'
import { fileURLToPath } from 'node:url'

/** As it stands in a stack: `file:///app/dist/bundle/chunk-X.js:12:34`. */
const PLACE = /(file:\/\/\S+\.js):(\d+):(\d+)/
/** A map holds megabytes, and takes tens of milliseconds to read: errors that come together share it, and then it goes. */
const KEPT_MS = 10_000
const HERE = new URL('./', import.meta.url).href

/**
 * From now on stack traces name the files of `src/`, not those that the build made of them. Node's own
 * `--enable-source-maps` reads every map at the start of a process, which costs a fifth of it; this reads one when a stack is asked for.
 */
export function tellSourcePlaces(): void {
  const maps = new Map<string, SourceMap | undefined>()
  const mapOf = (file: string) => {
    if (maps.size === 0) setTimeout(() => maps.clear(), KEPT_MS).unref()
    if (!maps.has(file)) maps.set(file, readMap(file))
    return maps.get(file)
  }
  Error.prepareStackTrace = (error, frames) => {
    const lines = frames.map((frame) =>
      `    at ${frame}`.replace(PLACE, (place, file, line, column) => {
        const found = mapOf(file)?.findEntry(Number(line) - 1, Number(column) - 1)
        if (found === undefined || !('originalSource' in found)) return place
        const source = fileURLToPath(new URL(found.originalSource, file))
        return `${source}:${found.originalLine + 1}:${found.originalColumn + 1}`
      }),
    )
    return [Error.prototype.toString.call(error), ...lines].join('\n')
  }
}

/** Undefined for what the build has not made: packages, and the sources themselves. */
function readMap(file: string): SourceMap | undefined {
  if (!file.startsWith(HERE)) return undefined
  try {
    return new SourceMap(JSON.parse(readFileSync(new URL(`${file}.map`), 'utf8')))
  } catch {
    return undefined // of a package without maps
  }
}
