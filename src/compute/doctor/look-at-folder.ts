import { constants } from 'node:fs'
import { access, stat, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

/** A folder of the worker's machine, or where it would be made. */
export interface FolderState {
  /** Itself, or the nearest above it that is there. */
  readonly found: string
  readonly isFolder: boolean
  /** By whoever runs this. */
  readonly isWritable: boolean
  /** Folders on the way that others cannot pass through, QEMU's user among them. */
  readonly closed: readonly string[]
  readonly freeGb: number
  readonly totalGb: number
  /** `nfs`: of others, too; undefined: a disk of this machine, as far as can be seen. */
  readonly kind: string | undefined
}

const BYTES_PER_GIB = 1024 ** 3

/** File systems that are no disk of this machine. Source: Linux, include/uapi/linux/magic.h */
const KINDS: Readonly<Record<number, string>> = {
  26985: 'nfs',
  4283649346: 'cifs',
  4266872130: 'smb',
  12805120: 'ceph',
  1702057286: 'fuse',
  18225520: 'gfs2',
  1952539503: 'ocfs2',
  16914836: 'tmpfs',
  2240043254: 'ramfs',
}

/** @throws what the file system says */
export async function lookAtFolder(path: string): Promise<FolderState> {
  const found = await nearest(path)
  const [node, { bavail, blocks, bsize, type }] = await Promise.all([stat(found), statfs(found)])
  const isWritable = await access(found, constants.W_OK | constants.X_OK).then(
    () => true,
    () => false,
  )
  return {
    found,
    isFolder: node.isDirectory(),
    isWritable,
    closed: await closedOnTheWay(found),
    freeGb: Math.floor((bavail * bsize) / BYTES_PER_GIB),
    totalGb: Math.floor((blocks * bsize) / BYTES_PER_GIB),
    kind: KINDS[type],
  }
}

async function nearest(path: string): Promise<string> {
  try {
    await stat(path)
    return path
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && dirname(path) !== path) return nearest(dirname(path))
    throw error
  }
}

async function closedOnTheWay(path: string): Promise<readonly string[]> {
  const above = dirname(path) === path ? [] : await closedOnTheWay(dirname(path))
  const { mode } = await stat(path)
  return (mode & 0o001) === 0 ? [...above, path] : above
}
