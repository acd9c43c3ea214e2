import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { runTool, type Tool, toolOnPath } from '../run-tool.ts'
import type { DriveFile } from './config-drive-files.ts'
import { type DiskTools, makeEmptyFile, quick } from './make-disk.ts'

/** By it cloud-init finds the drive. */
const LABEL = 'config-2'
/** Of a drive with a FAT file system: Nova's size. It has holes. */
const FAT_BYTES = 64 * 1024 ** 2

/** Any of them writes ISO 9660 by these options. */
export const ISO_TOOLS: readonly [Tool, ...Tool[]] = ['genisoimage', 'xorrisofs', 'mkisofs']

/**
 * A drive with these files, in a new file: a CD-ROM (ISO 9660 with the names of Joliet and Rock Ridge), or a disk with a
 * FAT file system. Beside it, for a moment, is a folder with the files, for nobody else to read.
 *
 * @throws HostCapabilityMissing, DiskCreationFailed, or the signal's reason
 */
export async function makeConfigDrive(
  file: string,
  kind: 'cdrom' | 'disk',
  files: readonly DriveFile[],
  tools: DiskTools,
  signal: AbortSignal,
): Promise<void> {
  const folder = `${file}.files.new`
  try {
    await writeFiles(folder, files)
    await makeEmptyFile(file, kind === 'cdrom' ? 0 : FAT_BYTES)
    if (kind === 'cdrom') await makeIso(file, folder, tools, signal)
    else await makeFat(file, folder, tools, signal)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function writeFiles(folder: string, files: readonly DriveFile[]): Promise<void> {
  await mkdir(folder, { mode: 0o700 })
  for (const { path, content } of files) {
    await mkdir(dirname(join(folder, path)), { recursive: true })
    await writeFile(join(folder, path), content, { flag: 'wx' })
  }
}

async function makeIso(file: string, folder: string, tools: DiskTools, signal: AbortSignal): Promise<void> {
  const { tool } = await toolOnPath(ISO_TOOLS, tools.path)
  await runTool(tool, ['-quiet', '-J', '-r', '-V', LABEL, '-o', file, folder], quick(tools), signal)
}

async function makeFat(file: string, folder: string, tools: DiskTools, signal: AbortSignal): Promise<void> {
  await runTool('mkfs.vfat', ['-n', LABEL, file], quick(tools), signal)
  await runTool('mcopy', ['-i', file, '-s', join(folder, 'openstack'), '::/'], quick(tools), signal)
}
