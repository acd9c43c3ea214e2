import { SYSTEM_PATH, type Tool, toolOnPath } from '../../src/compute/run-tool.ts'

const TOOLS: readonly Tool[] = [
  'qemu-img',
  'genisoimage',
  'xorrisofs',
  'mkfs.vfat',
  'mcopy',
  'mkfs.ext4',
  'mkswap',
  'prlimit',
]

/** Where the programs are that make disks; undefined where one of them is not installed. */
export async function findDiskTools(): Promise<string | undefined> {
  const found = await Promise.all(
    TOOLS.map((tool) =>
      toolOnPath([tool], SYSTEM_PATH).then(
        () => true,
        () => false,
      ),
    ),
  )
  return found.includes(false) ? undefined : SYSTEM_PATH
}
