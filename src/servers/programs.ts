import { constants } from 'node:fs'
import { access, realpath } from 'node:fs/promises'
import { delimiter, join } from 'node:path'

/** The first of these paths that this user may execute. */
export async function firstExecutable(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    const executable = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (executable) return path
  }
  return undefined
}

/** Where a shell would find the program. */
export function onPath(program: string): Promise<string | undefined> {
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  return firstExecutable(folders.map((folder) => join(folder, program)))
}

/** The program itself behind its links, so that its neighbours can be found. */
export async function resolved(path: string | undefined): Promise<string | undefined> {
  return path === undefined ? undefined : realpath(path)
}
