import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { OperationNotSupportedForSEV } from '../../errors.ts'

/** How guests of simulated hosts go from one to the other: as files in the folder of the other one. */
const FOLDER = 'incoming'

/** @param folder of the host that it goes to, which must be on this machine */
export async function sendGuest(folder: string, uuid: string, live: string): Promise<void> {
  await stat(folder)
  const incoming = join(folder, FOLDER)
  await mkdir(incoming, { recursive: true })
  const file = join(incoming, uuid)
  await writeFile(`${file}.new`, live)
  await rename(`${file}.new`, file)
}

/** @returns its document; undefined: it has not come, or was let in already */
export async function receivedGuest(folder: string, uuid: string): Promise<string | undefined> {
  const file = join(folder, FOLDER, uuid)
  const live = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (live !== undefined) await rm(file, { force: true })
  return live
}

/** In QEMU's words, and as the driver of a real host tells them. */
export function qemuRefuses(uuid: string): OperationNotSupportedForSEV {
  return new OperationNotSupportedForSEV(
    `QEMU does not migrate guest ${uuid}: Requested operation is not valid: cannot migrate domain: SEV: Migration is not implemented`,
    { instance_uuid: uuid, operation: 'live-migration', libvirt_code: 55 },
  )
}
