import { lstatSync, readdirSync, rmSync, type Stats } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { InvalidConfiguration } from '../../errors.ts'
import { hasOwner, isAbandoned, lockFolder } from '../../folder-lock.ts'

const NAME = 'sevbus-demo-'
/** A demo locks its folder at once: one without any lock for so long was killed before that, or while it removed it. In milliseconds. */
const LOCKED_WITHIN_MS = 60_000

export interface DemoFolder {
  readonly folder: string
  remove(): void
}

/**
 * A folder for one demo, gone with its process however that ends, also when it is interrupted or nobody reads it any more; one that
 * was killed has its folder removed by the next.
 *
 * @throws InvalidConfiguration where there is no temporary folder to have it in
 */
export async function openDemoFolder(): Promise<DemoFolder> {
  const parent = tmpdir()
  removeAbandoned(parent)
  const folder = await mkdtemp(join(parent, NAME)).catch((error: NodeJS.ErrnoException) => {
    throw noPlace(parent, error)
  })
  // Before it is locked, for that may fail.
  const removeAtExit = () => rmSync(folder, { recursive: true, force: true })
  process.once('exit', removeAtExit)
  const lock = await lockFolder(folder, { what: 'the folder of a demo', fix: 'start it again' })
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
  for (const name of namesIn(parent).filter((each) => each.startsWith(NAME))) {
    const folder = join(parent, name)
    try {
      const stat = lstatSync(folder)
      const isOurs = stat.isDirectory() && stat.uid === process.getuid?.()
      if (isOurs && (isAbandoned(folder) || wasNeverLocked(folder, stat)))
        rmSync(folder, { recursive: true, force: true })
    } catch {
      // Another demo that starts has removed it meanwhile.
    }
  }
}

/** In some folders one may write and not look around: there nobody's is removed, and a demo has its own all the same. */
function namesIn(parent: string): readonly string[] {
  try {
    return readdirSync(parent)
  } catch {
    return []
  }
}

/** Or is not any more. Whatever is put into it, or taken out, is a change of it. */
function wasNeverLocked(folder: string, { mtimeMs }: Stats): boolean {
  return !hasOwner(folder) && Date.now() - mtimeMs > LOCKED_WITHIN_MS
}

function noPlace(parent: string, cause: NodeJS.ErrnoException): InvalidConfiguration {
  const problem = `no folder can be made in the temporary folder ${parent} (${cause.code})`
  const fix = 'make room there, or name another one: TMPDIR=/path'
  return new InvalidConfiguration(`${problem}; ${fix}`, { problems: [problem], path: parent, fix }, { cause })
}
