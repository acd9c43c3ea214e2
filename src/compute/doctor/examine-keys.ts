import type { EncryptionKeys } from '../../objects/guest-report.ts'
import { encryptionKeys } from '../libvirt/encryption-keys.ts'
import { type HostFiles, parsed, type Reading, readValue } from './reading.ts'

const FOLDER = 'sys/fs/cgroup'

/** Keys (ASIDs) by the kernel's misc controller. */
export interface KernelKeys {
  readonly keys: EncryptionKeys
  /** Whether it also tells how many are in use. */
  readonly knowsUse: boolean
}

/** As `readEncryptionKeys` counts them: older kernels show what is in use in the groups right below the root only. */
export async function examineKeys(files: HostFiles): Promise<Reading<KernelKeys>> {
  const path = `${FOLDER}/misc.capacity`
  const [capacity, whole] = await Promise.all([files.text(path), files.text(`${FOLDER}/misc.current`)])
  const current = whole.state === 'read' ? [whole.value] : await currentOfGroups(files)
  return parsed(capacity, path, (text) => ({ keys: encryptionKeys(text, current), knowsUse: current.length > 0 }))
}

async function currentOfGroups(files: HostFiles): Promise<readonly string[]> {
  const groups = readValue(await files.names(FOLDER)) ?? []
  const texts = await Promise.all(groups.map((name) => files.text(`${FOLDER}/${name}/misc.current`)))
  return texts.flatMap((text) => readValue(text) ?? [])
}
