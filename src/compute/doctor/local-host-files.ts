import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { SYSTEM_PATH, type Tool, toolOnPath } from '../run-tool.ts'
import { type FolderState, lookAtFolder } from './look-at-folder.ts'
import type { DeviceNode, HostFiles, Reading } from './reading.ts'
import { read } from './reading.ts'

const ABSENT = new Set(['ENOENT', 'ENOTDIR', 'ENXIO', 'ENODEV'])
const NOT_ALLOWED = new Set(['EACCES', 'EPERM'])

/** The files of this machine, or of one whose root is somewhere below. */
export class LocalHostFiles implements HostFiles {
  readonly #root: string

  /** @param root where `proc`, `sys` and `dev` of the host are: `/` */
  constructor(root: string) {
    this.#root = root
  }

  text(path: string): Promise<Reading<string>> {
    return this.#reading(path, (file) => readFile(file, 'utf8'))
  }

  bytes(path: string, position: number, length: number): Promise<Reading<Uint8Array>> {
    return this.#reading(path, async (name) => {
      await using file = await open(name, 'r')
      const { buffer, bytesRead } = await file.read(new Uint8Array(length), 0, length, position)
      return buffer.subarray(0, bytesRead)
    })
  }

  names(folder: string): Promise<Reading<readonly string[]>> {
    return this.#reading(folder, (name) => readdir(name))
  }

  device(path: string): Promise<Reading<DeviceNode>> {
    return this.#reading(path, async (name) => {
      const found = await stat(name)
      return {
        isCharacter: found.isCharacterDevice(),
        ...numbersOf(found.rdev),
        mode: (found.mode & 0o7777).toString(8).padStart(4, '0'),
      }
    })
  }

  async program(anyOf: readonly [Tool, ...Tool[]]): Promise<Reading<string>> {
    return await toolOnPath(anyOf, SYSTEM_PATH).then(
      ({ file }) => read(file),
      () => ({ state: 'absent', path: anyOf.join(' or ') }),
    )
  }

  folder(path: string): Promise<Reading<FolderState>> {
    return readingOf(path, lookAtFolder)
  }

  #reading<T>(path: string, look: (file: string) => Promise<T>): Promise<Reading<T>> {
    return readingOf(join(this.#root, path), look)
  }
}

async function readingOf<T>(file: string, look: (file: string) => Promise<T>): Promise<Reading<T>> {
  try {
    return read(await look(file))
  } catch (error) {
    const { code = 'unknown error' } = error as NodeJS.ErrnoException
    if (ABSENT.has(code)) return { state: 'absent', path: file }
    return { state: 'unreadable', path: file, why: NOT_ALLOWED.has(code) ? `not allowed (${code})` : code }
  }
}

/** glibc's `gnu_dev_major` and `gnu_dev_minor`, for numbers that devices have. */
function numbersOf(rdev: number) {
  return { major: (rdev >>> 8) & 0xfff, minor: (rdev & 0xff) | ((rdev >>> 12) & 0xfff00) }
}
