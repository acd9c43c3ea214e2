import { lstatSync, readdirSync, rmSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isAbandoned, lockFolder } from '../../folder-lock.ts'

const NAME = 'sevbus-demo-'

export interface DemoFolder {
  readonly folder: string
  remove(): void
}

/**
 * A folder for one demo, gone with its process however that ends, also when it is interrupted or nobody reads it any more; one that
 * was killed has its folder removed by the next.
 */
export async function openDemoFolder(): Promise<DemoFolder> {
  removeAbandoned(tmpdir())
  const folder = await mkdtemp(join(tmpdir(), NAME))
  const lock = await lockFolder(folder, { what: 'the folder of a demo', fix: 'start it again' })
  const removeAtExit = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  return {
    folder,
    remove() {
      process.off('exit', removeAtExit)
      removeAtExit()
      lock.release()
    },
  }
}

/** Other users' are theirs, and what is no folder is no demo's. One that cannot be looked at, or removed, is in nobody's way. */
function removeAbandoned(parent: string): void {
  for (const name of readdirSync(parent).filter((each) => each.startsWith(NAME))) {
    const folder = join(parent, name)
    try {
      const stat = lstatSync(folder)
      const isOurs = stat.isDirectory() && stat.uid === process.getuid?.()
      if (isOurs && isAbandoned(folder)) rmSync(folder, { recursive: true, force: true })
    } catch {
      // Another demo that starts has removed it meanwhile.
    }
  }
}
