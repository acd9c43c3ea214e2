import { randomUUID } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimes, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AlreadyInUse } from './errors.ts'

/** How often an owner touches its lock file, in milliseconds. */
const TOUCH_MS = 5_000
/** Another machine's owner (a container's, before it was made anew) that has not touched it for so long is gone. */
const GONE_AFTER_MS = 30_000

/** What the folder holds, for the error: `the journal of host node1`; and what to do instead of sharing it. */
export interface LockedContent {
  readonly what: string
  readonly fix: string
}

const ZOMBIE = 'zombie'

/** Who has the folder, as written in its lock file. */
interface Owner {
  readonly pid: number
  /** When that process began, as the kernel counts: pids are used again, this pair is not. Empty where unknown. */
  readonly started: string
  /** Another machine's pids (a shared disk, a container's) mean nothing here. */
  readonly machine: string
}

export interface FolderLock {
  release(): void
}

/** `owner.<pid>.<uuid>` */
const LOCK_FILE = /^owner\.(\d+)\.[\w-]+$/
const TRIES = 20

/** Lock files of this process: any other that bears its pid was copied, or left by one that had the pid before. */
const heldHere = new Set<string>()

/**
 * Makes this process the only one of ours that uses the folder, until it releases it or dies.
 *
 * Each process writes a lock file of its own name, then looks for those of others: of two that come at once, at least
 * one sees the other. So a dead process's file can be removed by anybody without a race: its name is never used again.
 *
 * @throws AlreadyInUse naming the content, the folder and the process that has it
 */
export async function lockFolder(folder: string, content: LockedContent): Promise<FolderLock> {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (let tries = 1; ; tries++) {
    const mine = `owner.${process.pid}.${randomUUID()}`
    const path = join(folder, mine)
    heldHere.add(path)
    writeFileSync(path, JSON.stringify(thisProcess()), { flag: 'wx', mode: 0o600 })
    const other = livingOwner(folder, mine)
    if (other === undefined) return held(path)
    drop(path)
    // It may be one that came at the same moment and steps back as well.
    if (tries === TRIES) throw alreadyInUse(folder, other, content)
    await sleep(10 + Math.random() * 40)
  }
}

/** Somebody has had the folder and died with it: nobody that lives has it. False of one that nobody has locked yet. */
export function isAbandoned(folder: string): boolean {
  const owners = ownersIn(folder)
  const isHeld = (file: string) => {
    const owner = readOwner(join(folder, file))
    return owner === undefined || isAlive(owner, join(folder, file))
  }
  return owners.length > 0 && !owners.some(isHeld)
}

/** Has it a lock at all, whether of somebody who lives or not? */
export function hasOwner(folder: string): boolean {
  return ownersIn(folder).length > 0
}

function ownersIn(folder: string): readonly string[] {
  return readdirSync(folder).filter((file) => LOCK_FILE.test(file))
}

function held(path: string): FolderLock {
  const touching = setInterval(() => {
    const now = new Date()
    utimes(path, now, now, () => {})
  }, TOUCH_MS).unref()
  return {
    release() {
      clearInterval(touching)
      drop(path)
    },
  }
}

function drop(path: string): void {
  rmSync(path, { force: true })
  heldHere.delete(path)
}

function livingOwner(folder: string, mine: string): Owner | undefined {
  for (const file of readdirSync(folder)) {
    if (!LOCK_FILE.test(file) || file === mine) continue
    const owner = readOwner(join(folder, file))
    if (owner !== undefined && isAlive(owner, join(folder, file))) return owner
    if (owner !== undefined) rmSync(join(folder, file), { force: true })
  }
  return undefined
}

/** Undefined when it was released just now. */
function readOwner(path: string): Owner | undefined {
  try {
    return parseOwner(readFileSync(path, 'utf8')) ?? { pid: pidOf(path), started: '', machine: hostname() }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/** Undefined while it is being written; who writes it is in its name. */
function parseOwner(text: string): Owner | undefined {
  try {
    return JSON.parse(text) as Owner
  } catch {
    return undefined
  }
}

function pidOf(path: string): number {
  return Number(LOCK_FILE.exec(basename(path))?.[1])
}

function thisProcess(): Owner {
  return { pid: process.pid, started: startOf(process.pid), machine: hostname() }
}

function isAlive({ pid, started, machine }: Owner, file: string): boolean {
  if (machine !== hostname()) return wasTouchedLately(file)
  if (pid === process.pid) return heldHere.has(file)
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives, under another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const startedNow = startOf(pid)
  return startedNow !== ZOMBIE && (started === '' || startedNow === started)
}

/** Its processes cannot be seen from here, but the file can. */
function wasTouchedLately(file: string): boolean {
  const stat = statSync(file, { throwIfNoEntry: false })
  return stat !== undefined && Date.now() - stat.mtimeMs < GONE_AFTER_MS
}

/**
 * Field 22 of /proc/<pid>/stat, counted after the command's closing parenthesis; empty where there is no /proc. A zombie
 * (state Z, field 3) is dead and only not buried yet: it has none.
 */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[0] === 'Z' ? ZOMBIE : (fields[19] ?? '')
  } catch {
    return ''
  }
}

function alreadyInUse(folder: string, { pid, machine }: Owner, { what, fix }: LockedContent): AlreadyInUse {
  const elsewhere = machine === hostname() ? '' : ` on ${machine}`
  return new AlreadyInUse(`${what} (${folder}) is in use by process ${pid}${elsewhere}; stop it, or ${fix}`, {
    folder,
    pid,
    machine,
    fix: `stop process ${pid}${elsewhere}, or ${fix}`,
  })
}
