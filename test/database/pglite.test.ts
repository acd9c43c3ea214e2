import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { lockFolder } from '../../src/database/folder-lock.ts'
import { openPglite } from '../../src/database/pglite.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sevbus-pglite-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const locks = async () => (await readdir(folder)).filter((name) => name.startsWith('owner.'))

describe('the embedded database in a folder', () => {
  it('has in its next life what was stored in its last, and one owner at a time', async () => {
    const first = await openPglite({ folder })
    await first.query('create table kept (n int); insert into kept values (42)')

    await expect(openPglite({ folder })).rejects.toMatchObject({
      code: 'ALREADY_IN_USE',
      details: { folder, pid: process.pid },
    })
    await first.close()
    await expect(first.query('select 1')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })

    const second = await openPglite({ folder })
    expect(second.description).toBe(`embedded PostgreSQL in ${folder}`)
    expect(await second.query('select n from kept')).toEqual([{ n: 42 }])
    await second.close()
    expect(await locks()).toEqual([])
  })
})

describe('the lock of a folder', () => {
  it('names the folder and the process that has it', async () => {
    await using other = await anotherProcess()
    await lockAs(other.pid, { started: '' })

    await expect(lockFolder(folder)).rejects.toMatchObject({
      code: 'ALREADY_IN_USE',
      message: `${folder} is in use by process ${other.pid}; the embedded database has one process at a time`,
      details: { folder, pid: other.pid },
    })
  })

  it('passes from a process that died to the next', async () => {
    const other = await anotherProcess()
    await lockAs(other.pid, { started: '' })
    await other[Symbol.asyncDispose]()

    const lock = await lockFolder(folder)

    expect(await locks()).toHaveLength(1)
    lock.release()
    expect(await locks()).toEqual([])
  })

  it.runIf(process.platform === 'linux')('is not held by a process that got the pid of a dead owner', async () => {
    await using other = await anotherProcess()
    await lockAs(other.pid, { started: '1' })

    const lock = await lockFolder(folder)

    lock.release()
  })

  it('is believed when it comes from another machine, whose processes nobody here can see', async () => {
    await lockAs(1, { started: '', machine: 'elsewhere' })

    await expect(lockFolder(folder)).rejects.toMatchObject({
      message: `${folder} is in use by process 1 on elsewhere; the embedded database has one process at a time`,
    })
  })

  it('is believed while its owner is still writing it', async () => {
    await using other = await anotherProcess()
    await writeFile(join(folder, `owner.${other.pid}.test`), '{"pid":')

    await expect(lockFolder(folder)).rejects.toMatchObject({ details: { pid: other.pid } })
  })

  it('leaves files alone that are not its own', async () => {
    await writeFile(join(folder, 'owner.txt'), 'the department of physics')

    const lock = await lockFolder(folder)
    lock.release()

    expect(await readdir(folder)).toEqual(['owner.txt'])
  })

  it('goes to one at most of many that come at once', async () => {
    await lockAs(2 ** 22 + 1, { started: '' })

    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)))

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(await locks()).toHaveLength(1)
  })

  async function lockAs(pid: number, { started, machine = hostname() }: { started: string; machine?: string }) {
    await writeFile(join(folder, `owner.${pid}.test`), JSON.stringify({ pid, started, machine }))
  }

  async function anotherProcess() {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000); console.log("up")'])
    await once(child.stdout, 'data')
    return {
      pid: child.pid as number,
      async [Symbol.asyncDispose]() {
        const exited = once(child, 'exit')
        child.kill('SIGKILL')
        await exited
      },
    }
  }
})
