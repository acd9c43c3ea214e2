import { execFile } from 'node:child_process'
import { symlink, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { readConsoleLog } from '../../../src/compute/disks/read-console-log.ts'
import { aFolder } from '../support/folders.ts'

const run = promisify(execFile)
const read = async (path: string, bytes = 100) => (await readConsoleLog(path, bytes)).toString()

describe('the log of a guest, which writes what it likes', () => {
  it('is read from its end, and no more of it than is asked for', async () => {
    const path = join(await aFolder(), 'console.log')
    await writeFile(path, 'first\nsecond\n')

    expect([await read(path), await read(path, 7)]).toEqual(['first\nsecond\n', 'second\n'])
    await truncate(path, 2 ** 40)
    expect((await readConsoleLog(path, 100)).length).toBe(100)
  })

  it('is nothing where there is none, and what is in its place is not followed', async () => {
    const folder = await aFolder()
    await symlink('/etc/passwd', join(folder, 'link'))
    await run('mkfifo', [join(folder, 'pipe')])

    expect(await Promise.all(['gone', 'link', 'pipe'].map((name) => read(join(folder, name))))).toEqual(['', '', ''])
  })
})
