import { randomUUID } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import { type ReportingWorker, SEQUENCES_PER_START } from '../objects/host-report.ts'
import { cleanText } from '../objects/text.ts'
import { replaceFile } from './atomic-file.ts'
import { kernelBootId } from './kernel-boot-id.ts'

/** `worker.json` in the state folder. */
const Kept = z.object({
  worker_id: z.guid(),
  /** The kernel's, of the boot in which the id was made; empty where unknown. */
  boot_id: z.string(),
  /** The folder's own number: a copy has another one. */
  folder_inode: z.int(),
  starts: z.int().min(1),
})
type Kept = z.infer<typeof Kept>

/** Who this worker is to the schedulers. */
export interface WorkerIdentity {
  /** For the next report: newer than all before it, those of earlier starts too. */
  next(): ReportingWorker
}

interface IdentityOptions {
  /** Which boot of which machine this is. */
  readonly bootId?: () => Promise<string>
  readonly clock?: () => number
}

/**
 * Says who the worker with this state folder is, which must be locked. A restart is the same worker, so it is taken again
 * at once. On another boot it is a new one, and in a copied folder, too: a machine that was cloned with its host name and
 * its state must not pass for the original, while that one lives.
 */
export async function openWorkerIdentity(
  folder: string,
  { bootId = kernelBootId, clock = Date.now }: IdentityOptions = {},
): Promise<WorkerIdentity> {
  const path = join(folder, 'worker.json')
  const [boot_id, { ino: folder_inode }] = await Promise.all([bootId(), stat(folder)])
  const kept = await readKept(path)
  const isSame = kept !== undefined && kept.boot_id === boot_id && kept.folder_inode === folder_inode
  const { worker_id, starts } = isSame ? { ...kept, starts: kept.starts + 1 } : { worker_id: randomUUID(), starts: 1 }
  await replaceFile(path, `${JSON.stringify({ worker_id, boot_id, folder_inode, starts } satisfies Kept)}\n`)
  const machine = cleanText(hostname(), 255) || 'unknown'
  let sequence = starts * SEQUENCES_PER_START
  return { next: () => ({ worker_id, sequence: ++sequence, machine, pid: process.pid, clock_ms: clock() }) }
}

/** Undefined also when it cannot be understood: then this is a new worker, which is the safe side. */
async function readKept(path: string): Promise<Kept | undefined> {
  try {
    return Kept.parse(JSON.parse(await readFile(path, 'utf8')))
  } catch {
    return undefined
  }
}
