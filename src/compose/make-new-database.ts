/**
 * The last step of `npm run build`. To make an embedded database anew (`initdb`, in WebAssembly) takes five seconds of a
 * processor, to unpack one that was made half a second; and every first start has to do either.
 */
import { existsSync } from 'node:fs'
import { rename, writeFile } from 'node:fs/promises'
import { newDatabaseFile } from '../database/new-database.ts'
import { packNewDatabase } from '../database/pglite.ts'

const file = newDatabaseFile()
if (!existsSync(file)) {
  // All of it or nothing, also when two build at a time.
  const half = `${file}.${process.pid}`
  await writeFile(half, await packNewDatabase())
  await rename(half, file)
}
