import { open, rm } from 'node:fs/promises'
import { runTool, type ToolOptions } from '../run-tool.ts'

const MIB = 1024 ** 2

/** New disks by QEMU's and the system's own programs, each into a file that is not there yet. */
export interface DiskTools {
  /** Where they are looked for. */
  readonly path: string
}

/**
 * A disk that begins as another one and keeps what is different. Of the base only its bytes are taken: its format is said,
 * so that QEMU does not guess it from what a guest may have written.
 */
export async function makeOverlay(
  file: string,
  base: string,
  bytes: number,
  tools: DiskTools,
  signal: AbortSignal,
): Promise<void> {
  await makeEmptyFile(file, 0)
  const args = ['create', '-q', '-f', 'qcow2', '-F', 'raw', '-b', base, file, String(bytes)]
  await runTool('qemu-img', args, quick(tools), signal)
}

/** With a file system, as Nova makes it: ext4, called `ephemeral0`. */
export async function makeEphemeralDisk(file: string, sizeMib: number, tools: DiskTools, signal: AbortSignal) {
  const lazily = 'lazy_itable_init=1,lazy_journal_init=1'
  const make = ['-q', '-F', '-L', 'ephemeral0', '-E', lazily]
  await makeFormatted(file, sizeMib, tools, signal, (raw) => runTool('mkfs.ext4', [...make, raw], quick(tools), signal))
}

export async function makeSwapDisk(file: string, sizeMib: number, tools: DiskTools, signal: AbortSignal) {
  await makeFormatted(file, sizeMib, tools, signal, (raw) => runTool('mkswap', [raw], quick(tools), signal))
}

/** Formatted as a bare file with holes, then packed: qcow2 has only what was written. */
async function makeFormatted(
  file: string,
  sizeMib: number,
  tools: DiskTools,
  signal: AbortSignal,
  format: (raw: string) => Promise<unknown>,
): Promise<void> {
  const raw = `${file}.raw.new`
  try {
    await makeEmptyFile(raw, sizeMib * MIB)
    await format(raw)
    await makeEmptyFile(file, 0)
    await runTool('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', raw, file], quick(tools), signal)
  } finally {
    await rm(raw, { force: true })
  }
}

/** Ours alone before a program opens it by name: what is written is not for everybody. */
export async function makeEmptyFile(file: string, bytes: number): Promise<void> {
  const made = await open(file, 'wx', 0o600)
  try {
    await made.truncate(bytes)
  } finally {
    await made.close()
  }
}

/** What takes longer does not end: nothing of this copies data. */
export function quick({ path }: DiskTools): ToolOptions {
  return { path, timeoutMs: 120_000 }
}
