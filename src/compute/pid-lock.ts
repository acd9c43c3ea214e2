import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { AlreadyInUse } from '../errors.ts'

/** Locks that this process holds: its own pid in a lock file is otherwise a leftover of an earlier process. */
const heldHere = new Set<string>()

/** Keeps a folder for one process; the lock of a process that died is taken over. */
export class PidLock {
  readonly #path: string

  private constructor(path: string) {
    this.#path = path
  }

  /**
   * @param what names the folder's content in the error
   * @throws AlreadyInUse
   */
  static async take(folder: string, what: string): Promise<PidLock> {
    await mkdir(folder, { recursive: true })
    const path = join(resolve(folder), 'lock')
    if (heldHere.has(path)) throw inUse(what, path, process.pid)
    heldHere.add(path)
    try {
      while (!(await create(path))) await takeOver(path, what)
    } catch (error) {
      heldHere.delete(path)
      throw error
    }
    return new PidLock(path)
  }

  async release(): Promise<void> {
    if (heldHere.delete(this.#path)) await rm(this.#path, { force: true })
  }
}

async function create(path: string): Promise<boolean> {
  try {
    await writeFile(path, `${process.pid} ${startTime(process.pid)}`, { flag: 'wx', mode: 0o600 })
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/** Moves a dead process's lock out of the way; by renaming, so that of two who try only one succeeds. */
async function takeOver(path: string, what: string): Promise<void> {
  const found = await readFile(path, 'utf8').catch(() => undefined)
  if (found === undefined) return
  const [pid = '', since = ''] = found.split(' ')
  if (isAlive(Number(pid), since)) throw inUse(what, path, Number(pid))
  const stale = `${path}.${randomUUID()}`
  await rename(path, stale).catch(() => {})
  await rm(stale, { force: true })
}

/** Numbers of processes are used again, and in containers soon; the time of the start tells them apart. */
function isAlive(pid: number, since: string): boolean {
  if (!Number.isInteger(pid) || pid <= 0 || pid === process.pid) return false
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
  const now = startTime(pid)
  return since === '' || now === '' || now === since
}

/** Field 22 of /proc/<pid>/stat, counted behind the name, which may have blanks; empty where there is no /proc. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function inUse(what: string, path: string, pid: number): AlreadyInUse {
  const fix = 'stop that process, or choose another folder'
  return new AlreadyInUse(`${what} is in use by process ${pid} (${path}); ${fix}`, { path, pid, fix })
}
