import { readdir, readFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'

/** Nova's name of the folder with bases, under `instances_path`. */
export const BASES = '_base'

/**
 * In a guest's folder: the name of the base that its root disk begins as; its path, where it came from another host with
 * that. As long as it is there, the base stays.
 */
export const BASE_FILE = 'disk.base'
/** The same of the disk that it is rescued by. */
export const RESCUE_BASE_FILE = 'disk.rescue.base'

/**
 * The names of the bases that guests have: those of this host, and those of other hosts that have come from here.
 *
 * @param sharedPath what hosts share, with the folder of each below it; undefined: nothing
 */
export async function basesInUse(instancesPath: string, sharedPath: string | undefined): Promise<ReadonlySet<string>> {
  const used = await namesIn(instancesPath)
  for (const folder of await otherHosts(instancesPath, sharedPath)) {
    for (const name of await namesIn(folder)) {
      if (dirname(name) === join(instancesPath, BASES)) used.add(basename(name))
    }
  }
  return used
}

async function otherHosts(own: string, sharedPath: string | undefined): Promise<readonly string[]> {
  if (sharedPath === undefined) return []
  const entries = await readdir(sharedPath, { withFileTypes: true })
  const folders = entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(sharedPath, name))
  return folders.filter((folder) => folder !== own)
}

async function namesIn(folder: string): Promise<Set<string>> {
  const names = new Set<string>()
  for (const entry of (await readdir(folder, { withFileTypes: true }).catch(absent)) ?? []) {
    if (!entry.isDirectory()) continue
    for (const file of [BASE_FILE, RESCUE_BASE_FILE]) {
      const name = await readFile(join(folder, entry.name, file), 'utf8').catch(absent)
      if (name !== undefined) names.add(name.trim())
    }
  }
  return names
}

/** Of a guest that goes away meanwhile, or has none. What cannot be read is trouble: then nothing may be removed. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
