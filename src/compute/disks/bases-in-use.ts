import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Nova's name of the folder with bases, under `instances_path`. */
export const BASES = '_base'

/** In a guest's folder: the name of the base that its root disk begins as. As long as it is there, the base stays. */
export const BASE_FILE = 'disk.base'
/** The same of the disk that it is rescued by. */
export const RESCUE_BASE_FILE = 'disk.rescue.base'

/** The names of the bases that guests have. */
export async function basesInUse(instancesPath: string): Promise<ReadonlySet<string>> {
  const used = new Set<string>()
  for (const entry of await readdir(instancesPath, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue
    for (const file of [BASE_FILE, RESCUE_BASE_FILE]) {
      const name = await readFile(join(instancesPath, entry.name, file), 'utf8').catch(absent)
      if (name !== undefined) used.add(name.trim())
    }
  }
  return used
}

/** Of a guest that goes away meanwhile, or has none. What cannot be read is trouble: then nothing may be removed. */
function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
  throw error
}
