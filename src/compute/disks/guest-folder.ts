import { lstat, mkdir, open, readdir, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { DiskCreationFailed, InvalidArguments } from '../../errors.ts'
import { flushFolder } from '../atomic-file.ts'
import type { DiskFolder } from '../virt-driver.ts'

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/**
 * The folder of a guest; nothing of a guest is ever outside of it.
 * @throws InvalidArguments for what is no uuid: a name of ours never comes from elsewhere
 */
export function guestFolder(instancesPath: string, uuid: string): string {
  if (UUID.test(uuid)) return join(instancesPath, uuid)
  throw new InvalidArguments(`instance_uuid is ${JSON.stringify(uuid)}, which is no uuid in small letters`, {
    field: 'instance_uuid',
    value: uuid,
    fix: 'give the uuid of the instance',
  })
}

/** @throws DiskCreationFailed for a file elsewhere, a link to elsewhere included */
export function refuseOutside(folder: string, file: string): void {
  if (dirname(file) === folder) return
  const fix = 'set compute.instances_path to the folder in which the domain looks for its disks'
  throw new DiskCreationFailed(`${file} is not in the guest's folder ${folder}; ${fix}`, { folder, value: file, fix })
}

/**
 * QEMU's user must pass through, nobody need look around. A link in its place was put there by somebody else, and is not
 * followed.
 * @throws DiskCreationFailed
 */
export async function makeGuestFolder(folder: string): Promise<void> {
  await mkdir(folder, { mode: 0o711 }).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error
  })
  if ((await lstat(folder)).isDirectory()) return
  const fix = `remove ${folder}`
  throw new DiskCreationFailed(`${folder} is no folder, and not of ours; ${fix}`, { value: folder, fix })
}

/** Whole, and of our making: what is half made never has this name. A link is not looked behind. */
export async function isMade(file: string): Promise<boolean> {
  return lstat(file).then(
    (stat) => stat.isFile(),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
}

/** Where the disks of a guest are that has left for another host, or another size: Nova's name. */
export function asideOf(folder: string): string {
  return `${folder}_resize`
}

/** All folders that are called as those of guests, in any order. */
export async function guestFolders(instancesPath: string): Promise<readonly DiskFolder[]> {
  const entries = await readdir(instancesPath, { withFileTypes: true })
  const suffix = asideOf('')
  return entries.flatMap((entry) => {
    const aside = entry.name.endsWith(suffix)
    const uuid = aside ? entry.name.slice(0, -suffix.length) : entry.name
    return entry.isDirectory() && UUID.test(uuid) ? [{ uuid, folder: join(instancesPath, entry.name), aside }] : []
  })
}

/** A link is none. */
export async function isFolder(path: string): Promise<boolean> {
  return lstat(path).then(
    (stat) => stat.isDirectory(),
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return false
      throw error
    },
  )
}

/** Files with their sizes, by name. */
export async function filesOf(folder: string): Promise<{ name: string; bytes: number }[]> {
  const names = (await readdir(folder, { withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
  const sizes = names.sort().map(async (name) => ({ name, bytes: (await lstat(join(folder, name))).size }))
  return await Promise.all(sizes)
}

/** Gone already: returns. Links are removed, and not what they lead to. */
export async function removeGuestFolder(folder: string): Promise<void> {
  // QEMU that dies, or a program of a worker that was killed, may write a last file meanwhile.
  await rm(folder, { recursive: true, force: true, maxRetries: 3 })
  await flushFolder(dirname(folder)).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
}

/** Its content is on disk when this returns. */
export async function flushFile(path: string): Promise<void> {
  const file = await open(path, 'r')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
