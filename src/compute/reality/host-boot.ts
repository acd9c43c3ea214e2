import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../atomic-file.ts'
import { kernelBootId } from '../kernel-boot-id.ts'

export interface HostBoot {
  /** The host has booted since what ran on it was told last: all its guests were ended by that. */
  readonly isNew: boolean
  readonly noted: () => Promise<void>
}

/** Knows by a file in the state folder. Without one nobody knows, and it is not new: guests are not started for that. */
export async function openHostBoot(folder: string, bootId: () => Promise<string> = kernelBootId): Promise<HostBoot> {
  const path = join(folder, 'boot_id')
  const now = await bootId()
  const last = await readFile(path, 'utf8').then(
    (text) => text.trim(),
    () => undefined,
  )
  const noted = () => replaceFile(path, `${now}\n`)
  const isNew = last !== undefined && last !== now
  if (!isNew) await noted()
  return { isNew, noted }
}
