import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { EncryptionKeys } from '../../objects/guest-report.ts'
import { readIfThere } from './read-if-there.ts'

/** The unified hierarchy of cgroups (version 2). */
const FOLDER = 'sys/fs/cgroup'

/**
 * Encryption keys (ASIDs) as the kernel's misc controller counts them, whoever uses them: names `sev` and `sev_es`, the
 * latter for SEV-SNP too. Source: kernel/cgroup/misc.c of Linux 5.13 and later.
 *
 * Older kernels show `misc.current` below the root only: there the groups right below it are added up, each of which
 * counts what is inside.
 *
 * @param root where `sys` is: `/`
 * @returns undefined where the kernel does not tell
 */
export async function readEncryptionKeys(root: string): Promise<EncryptionKeys | undefined> {
  const folder = join(root, FOLDER)
  const capacity = await readIfThere(join(folder, 'misc.capacity'))
  if (capacity === undefined) return undefined
  const whole = await readIfThere(join(folder, 'misc.current'))
  const current = whole === undefined ? await currentOfGroups(folder) : [whole]
  return current === undefined ? undefined : encryptionKeys(capacity, current)
}

/** @param current what groups that have nothing in common have in use; undefined keys: the host has none of them */
export function encryptionKeys(capacity: string, current: readonly string[]): EncryptionKeys {
  const count = (name: string) => ({
    current: current.reduce((sum, text) => sum + amount(text, name), 0),
    capacity: amount(capacity, name),
  })
  return { sev: count('sev'), sev_es: count('sev_es') }
}

/** Lines of `name value`; a name that the machine has nothing of is left out. */
function amount(text: string, name: string): number {
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
}

async function currentOfGroups(folder: string): Promise<readonly string[] | undefined> {
  const entries = await readdir(folder, { withFileTypes: true })
  const groups = entries.filter((entry) => entry.isDirectory())
  const texts = await Promise.all(groups.map(({ name }) => readIfThere(join(folder, name, 'misc.current'))))
  const found = texts.filter((text) => text !== undefined)
  // The controller is not switched on for the groups: what they use cannot be told from nothing.
  return found.length === 0 ? undefined : found
}
