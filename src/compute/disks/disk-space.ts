import { lstat, readdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'

const BYTES_PER_GIB = 1024 ** 3
/** `st_blocks` counts these, whatever the file system's own are. */
const BLOCK_BYTES = 512

/**
 * What is free on the guests' file system, and what they have of it already; what others fill, cached images among them,
 * is no guest's any more. In whole GiB.
 */
export async function offeredDiskGb(instancesPath: string): Promise<number> {
  const { bavail, bsize } = await statfs(instancesPath)
  return Math.floor((bavail * bsize + (await occupiedByGuests(instancesPath))) / BYTES_PER_GIB)
}

async function occupiedByGuests(instancesPath: string): Promise<number> {
  let bytes = 0
  for (const folder of await readdir(instancesPath, { withFileTypes: true })) {
    if (!folder.isDirectory() || folder.name.startsWith('_')) continue
    bytes += await occupiedBytes(join(instancesPath, folder.name))
  }
  return bytes
}

/** What the files of a folder take; one that goes meanwhile takes nothing. */
export async function occupiedBytes(folder: string): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder).catch(() => [])) {
    bytes += ((await lstat(join(folder, name)).catch(() => undefined))?.blocks ?? 0) * BLOCK_BYTES
  }
  return bytes
}
