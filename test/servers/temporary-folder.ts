import { chmod, mkdir } from 'node:fs/promises'
import type { ServerHome } from '../../src/servers/server-home.ts'

/**
 * What this process and those that it starts put into the temporary folder is below the home's from now on, and goes with
 * that: also what a test that was killed had no time to remove.
 * @returns the end of it
 */
export async function keepTemporaryFilesIn(home: ServerHome): Promise<() => void> {
  const before = process.env.TMPDIR
  const folder = home.path('tmp')
  await mkdir(folder)
  // Other users' programs, PostgreSQL and QEMU among them, have files there, too.
  await chmod(home.folder, 0o711)
  await chmod(folder, 0o1777)
  process.env.TMPDIR = folder
  return () => {
    if (before === undefined) delete process.env.TMPDIR
    else process.env.TMPDIR = before
  }
}
