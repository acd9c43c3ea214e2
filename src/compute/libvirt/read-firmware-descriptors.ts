import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DescriptorFile } from './firmware-descriptors.ts'

/** Highest rank first: the operator's, then the distribution's. */
export const DESCRIPTOR_FOLDERS = ['etc/qemu/firmware', 'usr/share/qemu/firmware']

/** The descriptors of this machine, by folder. A folder that is not there has none. @param root where `etc` is: `/` */
export async function readDescriptorFiles(root: string): Promise<readonly (readonly DescriptorFile[])[]> {
  return await Promise.all(DESCRIPTOR_FOLDERS.map((folder) => filesIn(join(root, folder))))
}

async function filesIn(folder: string): Promise<readonly DescriptorFile[]> {
  const names = await readdir(folder).catch(() => [])
  return await Promise.all(
    names.toSorted().map(async (name) => ({
      name,
      // A link to nowhere hides what it is named after, as an empty file does.
      text: await readFile(join(folder, name), 'utf8').catch(() => ''),
    })),
  )
}
