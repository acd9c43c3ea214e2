import { ISO_TOOLS } from '../disks/make-config-drive.ts'
import type { Tool } from '../run-tool.ts'
import type { DoctorOptions } from './doctor-options.ts'
import type { HostFiles } from './reading.ts'

/** A program that the worker runs. */
export interface NeededTool {
  /** Any of them will do. */
  readonly anyOf: readonly [Tool, ...Tool[]]
  readonly use: string
  /** Without it no guest at all gets a disk. */
  readonly isVital: boolean
  readonly isThere: boolean
}

export async function examineTools(files: HostFiles, options: DoctorOptions): Promise<readonly NeededTool[]> {
  const needs = [...ALWAYS, ...(options.configDriveFormat === 'vfat' ? FAT_DRIVES : ISO_DRIVES)]
  return await Promise.all(
    needs.map(async (need) => ({ ...need, isThere: (await files.program(need.anyOf)).state === 'read' })),
  )
}

type Need = Omit<NeededTool, 'isThere'>

const ALWAYS: readonly Need[] = [
  { anyOf: ['qemu-img'], use: 'disks and images', isVital: true },
  { anyOf: ['prlimit'], use: 'looking into images within limits', isVital: true },
  { anyOf: ['mkfs.ext4'], use: 'ephemeral disks', isVital: false },
  { anyOf: ['mkswap'], use: 'swap disks', isVital: false },
]
const ISO_DRIVES: readonly Need[] = [{ anyOf: ISO_TOOLS, use: 'config drives', isVital: false }]
const FAT_DRIVES: readonly Need[] = [
  { anyOf: ['mkfs.vfat'], use: 'config drives', isVital: false },
  { anyOf: ['mcopy'], use: 'config drives', isVital: false },
]
