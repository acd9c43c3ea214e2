import { link, lstat, readFile } from 'node:fs/promises'
import { basename, dirname, isAbsolute, join } from 'node:path'
import type { LeftDisks } from '../../objects/left-disks.ts'
import { replaceFile } from '../atomic-file.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { BASE_FILE, BASES } from './bases-in-use.ts'
import { notThere } from './shared-storage.ts'

/**
 * Gives a guest that comes as it runs the disks that it has: each is one file with a name in the folder of either host, so
 * neither takes it from the other by removing its own. Done already: leaves them.
 *
 * @throws InvalidSharedStorage
 */
export async function shareGuestDisks(domain: DomainSpec, { folder, files }: LeftDisks): Promise<void> {
  const own = domain.disks.filter(({ role }) => role !== 'volume').map((disk) => disk.file)
  const { firmware } = domain.os
  const variables = firmware.kind === 'files' && firmware.nvram ? [firmware.nvram.file] : []
  const there = new Set(files.map(({ name }) => name))
  await shareBase(folder, own[0] as string)
  for (const file of [...own, ...variables.filter((each) => there.has(basename(each)))]) await share(folder, file)
}

async function share(folder: string, file: string): Promise<void> {
  const theirs = join(folder, basename(file))
  const found = await lstat(theirs).catch((error: NodeJS.ErrnoException) => error.code ?? error.message)
  if (typeof found === 'string') throw notThere(theirs, found)
  if (!found.isFile()) throw notThere(theirs, 'it is no file')
  await link(theirs, file).catch(async (error: NodeJS.ErrnoException) => {
    const is = error.code === 'EEXIST' ? await lstat(file) : undefined
    if (is?.ino === found.ino && is.dev === found.dev) return
    throw notThere(theirs, error.code === 'EXDEV' ? 'the hosts have file systems of their own' : error.message)
  })
}

/**
 * The disk goes on naming the base of the host that it comes from: as long as it is here, that stays there
 * (`bases-in-use.ts`).
 */
async function shareBase(folder: string, disk: string): Promise<void> {
  const name = await readFile(join(folder, BASE_FILE), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (name === undefined) return
  const base = baseOf(join(dirname(folder), BASES), name)
  const isOwn = dirname(base) === join(dirname(dirname(disk)), BASES)
  await replaceFile(join(dirname(disk), BASE_FILE), isOwn ? basename(base) : base)
}

/** @param written in the file beside the disk: a name in the folder of bases, or the path of a base of another host */
export function baseOf(basesFolder: string, written: string): string {
  const name = written.trim()
  return isAbsolute(name) ? name : join(basesFolder, name)
}
