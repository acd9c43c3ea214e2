import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'

/** A new empty folder, gone after the test. */
export async function aFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sevbus-compute-'))
  // Not by a hook of this module, which files that share a process load once: it would be the first one's alone.
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}
