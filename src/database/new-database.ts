import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const require = createRequire(import.meta.url)

/** Where the build puts an empty embedded database, of the very version of the engine that is installed. */
export function newDatabaseFile(): string {
  const { version } = require(join(dirname(require.resolve('@electric-sql/pglite')), '../package.json'))
  return fileURLToPath(new URL(`../../dist/new-database-${version}.tar.gz`, import.meta.url))
}

/** Undefined where nothing was built, as for tests of the sources: the engine then makes one itself. */
export async function readNewDatabase(): Promise<Blob | undefined> {
  try {
    return new Blob([await readFile(newDatabaseFile())])
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}
