import { readFile } from 'node:fs/promises'

/**
 * A file of the kernel's. Absent without the module, and on other processors; unreadable is as good as absent: nothing is
 * offered then.
 */
export async function readIfThere(path: string): Promise<string | undefined> {
  return await readFile(path, 'utf8').catch(() => undefined)
}
