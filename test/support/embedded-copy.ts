import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Database } from '../../src/database/database.ts'
import { openPglite } from '../../src/database/pglite.ts'

/** An embedded database of its own, in a folder that goes with it. */
export async function openEmbeddedCopy(within = tmpdir()): Promise<Database & AsyncDisposable> {
  const folder = await mkdtemp(join(within, 'sevbus-test-'))
  const database = await openPglite({ folder })
  return {
    description: database.description,
    query: (sql, params) => database.query(sql, params),
    transaction: (work) => database.transaction(work),
    close: () => database.close(),
    async [Symbol.asyncDispose]() {
      await database.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
