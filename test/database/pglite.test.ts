import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
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

  it('is made again where its process died while it was made', async () => {
    await (await openPglite({ folder })).close()
    // What is unpacked last of all is what says that it is whole.
    await rm(join(folder, 'pgdata/PG_VERSION'))
    await rm(join(folder, 'pgdata/base'), { recursive: true })

    const whole = await openPglite({ folder })

    expect(await whole.query('select 1 as n')).toEqual([{ n: 1 }])
    await whole.close()
  })
})
