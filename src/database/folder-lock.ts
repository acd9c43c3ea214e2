import { randomUUID } from 'node:crypto'
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { basename, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AlreadyInUse } from '../errors.ts'

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

/**
 * Makes this process the only one of ours that uses the folder, until it releases it or dies.
 *
 * Each process writes a lock file of its own name, then looks for those of others: of two that come at once, at least
 * one sees the other. So a dead process's file can be removed by anybody without a race: its name is never used again.
 *
 * @throws AlreadyInUse naming the folder and the process that has it
 */
export async function lockFolder(folder: string): Promise<FolderLock> {
  for (let tries = 1; ; tries++) {
    const mine = `owner.${process.pid}.${randomUUID()}`
    const release = () => rmSync(join(folder, mine), { force: true })
    writeFileSync(join(folder, mine), JSON.stringify(thisProcess()), { flag: 'wx', mode: 0o600 })
    const other = livingOwner(folder, mine)
    if (other === undefined) return { release }
    release()
    // It may be one that came at the same moment and steps back as well.
    if (tries === TRIES) throw alreadyInUse(folder, other)
    await sleep(10 + Math.random() * 40)
  }
}

interface OtherOwner extends Owner {
  readonly file: string
}

function livingOwner(folder: string, mine: string): OtherOwner | undefined {
  for (const file of readdirSync(folder)) {
    if (!LOCK_FILE.test(file) || file === mine) continue
    const owner = readOwner(join(folder, file))
    if (owner !== undefined && isAlive(owner)) return { ...owner, file }
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

function isAlive({ pid, started, machine }: Owner): boolean {
  if (machine !== hostname()) return true
  try {
    process.kill(pid, 0)
  } catch (error) {
    // EPERM: it lives, under another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return started === '' || startOf(pid) === started
}

/** Field 22 of /proc/<pid>/stat, counted after the command's closing parenthesis; empty where there is no /proc. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}

function alreadyInUse(folder: string, { pid, machine, file }: OtherOwner): AlreadyInUse {
  const elsewhere = machine !== hostname()
  return new AlreadyInUse(
    `${folder} is in use by process ${pid}${elsewhere ? ` on ${machine}` : ''}; the embedded database has one process at a time`,
    {
      folder,
      pid,
      machine,
      fix: elsewhere
        ? `stop that process; if it is gone, remove ${join(folder, file)}`
        : `stop process ${pid}, or use a PostgreSQL server (database.url) to run several processes`,
    },
  )
}
