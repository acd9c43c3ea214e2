import { randomUUID } from 'node:crypto'
import { link, lstat, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { basename, join, resolve, sep } from 'node:path'
import { InvalidSharedStorage } from '../../errors.ts'

/** In the folder that hosts share: whoever reads the same there sees the same disks. */
const ID_FILE = '.storage-id'

/** Made once, by whoever comes first. */
export async function storageId(root: string): Promise<string> {
  const file = join(root, ID_FILE)
  const known = await readIfThere(file)
  if (known !== undefined) return known
  const mine = `${file}.${randomUUID()}`
  try {
    await writeFile(mine, `${randomUUID()}\n`, { flag: 'wx', mode: 0o644 })
    await link(mine, file).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(mine, { force: true })
  }
  return (await readFile(file, 'utf8')).trim()
}

async function readIfThere(file: string): Promise<string | undefined> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return ''
    throw error
  })
  return text.trim() || undefined
}

/**
 * A folder that a message names is read only below the one that hosts share, and only as the one of this guest: no link
 * leads out of it.
 *
 * @throws InvalidSharedStorage
 */
export async function refuseOtherFolder(root: string, folder: string, name: string): Promise<void> {
  const inside = resolve(folder) === folder && folder.startsWith(`${root}${sep}`) && basename(folder) === name
  if (!inside) throw notThere(folder, `it is not ${name} below ${root}`)
  const found = await lstat(folder).catch((error: NodeJS.ErrnoException) => error.code ?? error.message)
  if (typeof found === 'string') throw notThere(folder, `it cannot be looked into: ${found}`)
  if (!found.isDirectory()) throw notThere(folder, 'it is no folder')
  const real = await realpath(folder)
  if (real !== join(await realpath(root), folder.slice(root.length))) throw notThere(folder, 'a link leads there')
}

export function notThere(path: string, why: string): InvalidSharedStorage {
  const fix = 'mount the folder of compute.shared_instances_path alike on both hosts'
  return new InvalidSharedStorage(`the disks in ${path} cannot be taken over: ${why}; ${fix}`, {
    path,
    reason: why,
    fix,
  })
}
