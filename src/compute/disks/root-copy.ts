import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DiskCreationFailed } from '../../errors.ts'
import { hasDataFile } from '../images/qcow2-header.ts'
import { runTool } from '../run-tool.ts'
import { BASE_FILE } from './bases-in-use.ts'
import type { DiskTools } from './make-disk.ts'
import { baseOf } from './share-disks.ts'

/** In a guest's folder: its root disk as it was at one moment, without its base. */
const COPY = 'disk.snapshot'
/** Longer than any disk takes that is worth an image. */
const TIMEOUT_MS = 4 * 3_600_000

/**
 * Copies what a guest has written to its root disk: QEMU must not write meanwhile. Where the file system can share blocks it
 * takes a moment.
 */
export async function copyRoot(folder: string, { path }: DiskTools, signal: AbortSignal): Promise<void> {
  const copy = join(folder, COPY)
  await rm(copy, { force: true })
  const args = ['--reflink=auto', '--sparse=always', '--', join(folder, 'disk'), copy]
  await runTool('cp', args, { path, timeoutMs: TIMEOUT_MS }, signal)
}

export async function removeRootCopy(folder: string): Promise<void> {
  await rm(join(folder, COPY), { force: true })
}

/**
 * Makes one disk of the copy and of what it is based on. The base is named here, not by the copy: QEMU, which a guest may have
 * taken over, can write any name into the header of its disk.
 *
 * @param basesFolder where bases are
 * @throws DiskCreationFailed
 */
export async function flattenRootCopy(
  folder: string,
  basesFolder: string,
  file: string,
  { path }: DiskTools,
  signal: AbortSignal,
): Promise<void> {
  const copy = join(folder, COPY)
  await refuseDataFile(copy)
  const base = baseOf(basesFolder, await readFile(join(folder, BASE_FILE), 'utf8'))
  const source = {
    driver: 'qcow2',
    file: { driver: 'file', filename: copy },
    backing: { driver: 'raw', file: { driver: 'file', filename: base } },
  }
  const args = ['convert', '-O', 'qcow2', `json:${JSON.stringify(source)}`, file]
  await runTool('qemu-img', args, { path, timeoutMs: TIMEOUT_MS }, signal)
}

async function refuseDataFile(copy: string): Promise<void> {
  await using file = await open(copy, 'r')
  const { buffer, bytesRead } = await file.read(Buffer.alloc(104), 0, 104, 0)
  if (!hasDataFile(buffer.subarray(0, bytesRead))) return
  throw new DiskCreationFailed('the root disk of the guest names another file for its data: no image is made of it', {
    reason: 'data_file',
  })
}
