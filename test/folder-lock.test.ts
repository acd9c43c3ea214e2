import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { lockFolder } from '../src/folder-lock.ts'

const content = { what: 'the data', fix: 'choose another folder' }
let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sevbus-lock-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const locks = async () => (await readdir(folder)).filter((name) => name.startsWith('owner.'))

describe('the lock of a folder', () => {
  it('names the folder and the process that has it', async () => {
    await using other = await anotherProcess()
    await lockAs(other.pid, { started: '' })

    await expect(lockFolder(folder, content)).rejects.toMatchObject({
      code: 'ALREADY_IN_USE',
      message: `the data (${folder}) is in use by process ${other.pid}; stop it, or choose another folder`,
      details: { folder, pid: other.pid },
    })
  })

  it('passes from a process that died to the next', async () => {
    const other = await anotherProcess()
    await lockAs(other.pid, { started: '' })
    await other[Symbol.asyncDispose]()

    const lock = await lockFolder(folder, content)

    expect(await locks()).toHaveLength(1)
    lock.release()
    expect(await locks()).toEqual([])
  })

  it.runIf(process.platform === 'linux')('is not held by a process that got the pid of a dead owner', async () => {
    await using other = await anotherProcess()
    await lockAs(other.pid, { started: '1' })

    const lock = await lockFolder(folder, content)

    lock.release()
  })

  it.runIf(process.platform === 'linux')('passes from a process that is dead and not buried yet', async () => {
    // The shell becomes a sleep, which never asks after its child: that stays a zombie.
    const parent = spawn('sh', ['-c', 'sleep 0.3 & echo $!; exec sleep 60'])
    const [line] = (await once(parent.stdout, 'data')) as [Buffer]
    const pid = Number(line.toString())
    await vi.waitFor(async () => expect(await readFile(`/proc/${pid}/stat`, 'utf8')).toContain(') Z '), 10_000)
    await lockAs(pid, { started: '' })

    const lock = await lockFolder(folder, content)

    lock.release()
    parent.kill('SIGKILL')
  })

  it('is believed when it comes from another machine, as long as it is touched', async () => {
    await lockAs(1, { started: '', machine: 'elsewhere' })

    await expect(lockFolder(folder, content)).rejects.toMatchObject({
      message: `the data (${folder}) is in use by process 1 on elsewhere; stop it, or choose another folder`,
    })
    const aMinuteAgo = new Date(Date.now() - 60_000)
    await utimes(join(folder, 'owner.1.test'), aMinuteAgo, aMinuteAgo)
    const lock = await lockFolder(folder, content)

    lock.release()
  })

  it('is believed while its owner is still writing it', async () => {
    await using other = await anotherProcess()
    await writeFile(join(folder, `owner.${other.pid}.test`), '{"pid":')

    await expect(lockFolder(folder, content)).rejects.toMatchObject({ details: { pid: other.pid } })
  })

  it('leaves files alone that are not its own', async () => {
    await writeFile(join(folder, 'owner.txt'), 'the department of physics')

    const lock = await lockFolder(folder, content)
    lock.release()

    expect(await readdir(folder)).toEqual(['owner.txt'])
  })

  it('goes to one at most of many that come at once', async () => {
    await lockAs(2 ** 22 + 1, { started: '' })

    const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder, content)))

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
