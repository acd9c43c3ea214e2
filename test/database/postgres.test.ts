import { describe, expect, inject, it } from 'vitest'
import { kept, keptAs } from '../../src/database/kept-statement.ts'
import { openPostgres } from '../../src/database/postgres.ts'

describe('a PostgreSQL server', () => {
  it('is described by version, host and database, without user and password', async () => {
    const url = new URL(inject('databaseUrl'))
    const database = await openPostgres({ url: url.href, poolSize: 1 })

    await database.close()

    expect(database.description).toMatch(
      new RegExp(`^PostgreSQL \\d+(\\.\\d+)? at ${url.hostname}:${url.port || 5432}${url.pathname}$`),
    )
  })

  it('is unavailable when nobody listens, and says so without the password', async () => {
    const opening = openPostgres({ url: 'postgresql://nova:s3cret@127.0.0.1:1/sevbus' })

    const error = await opening.catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: '127.0.0.1:1/sevbus: connect ECONNREFUSED 127.0.0.1:1',
      retryable: true,
    })
    expect(JSON.stringify(error)).not.toContain('s3cret')
  })

  it.each([
    'not a url',
    's3cret',
    'mysql://nova:s3cret@db/sevbus',
    'postgresql:s3cret',
    'postgresql://nova:pa/s3cret@db/sevbus',
    'postgresql://nova:12/s3cret@db/sevbus',
    'postgresql://nova:12#s3cret@db/sevbus',
    'postgresql://nova:12/s3cret@db@127.0.0.1/sevbus',
  ])('is not waited for when its URL cannot be right: %s', async (url) => {
    const error = await openPostgres({ url }).catch((thrown: unknown) => thrown)

    expect(error).toMatchObject({ code: 'INVALID_CONFIGURATION', details: { field: 'database.url' } })
    expect((error as Error).message).toContain('database.url')
    expect((error as Error).message + JSON.stringify(error)).not.toContain('s3cret')
  })

  it.each([
    ['postgresql://127.0.0.1:1?user=s3cret@db', 'the server of database.url: '],
    ['postgres://nova:s3cret@127.0.0.1:1/sevbus', '127.0.0.1:1/sevbus: '],
    ['postgresql://nova:s3cret@/sevbus?host=/nowhere', '/nowhere:5432/sevbus: '],
  ])('is named as far as its URL surely has no secret there: %s', async (url, name) => {
    const error = await openPostgres({ url }).catch((thrown: unknown) => thrown)

    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', message: expect.stringContaining(name) })
    expect((error as Error).message + JSON.stringify(error)).not.toContain('s3cret')
  })

  it('parses a statement that is kept once for each connection, and others each time', async () => {
    const database = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })
    const sql = kept('select abs($1::integer) as it')

    const rows = [
      await database.query(sql, [-1]),
      await database.query(sql, [-2]),
      await database.query('select $1::text', [1]),
    ]
    const known = await database.query(
      'select statement, generic_plans + custom_plans as runs from pg_prepared_statements',
    )
    await database.close()

    expect(rows.slice(0, 2)).toEqual([[{ it: 1 }], [{ it: 2 }]])
    expect(known).toEqual([{ statement: sql, runs: 2 }])
  })

  it.each([
    ['the session has lost it', 'deallocate all'],
    ['the session has it from somebody else', null],
    [
      'what it returns is not the same any more',
      `drop function kept_test; create function kept_test(n integer)
       returns table (it integer, more integer) language sql as 'select n, 2'`,
    ],
  ])('runs a statement that it has kept also where %s', async (_, meanwhile) => {
    const database = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })
    await database.query(`drop function if exists kept_test; create function kept_test(n integer)
      returns table (it integer) language sql as 'select n'`)
    const sql = kept('select * from kept_test($1)')
    if (meanwhile === null) await database.query(`prepare ${keptAs(sql)} as select 1`)
    else await database.query(sql, [1])

    if (meanwhile !== null) await database.query(meanwhile)
    const alone = await database.query(sql, [2])

    expect(alone).toMatchObject([{ it: 2 }])
    await database.query('drop function kept_test')
    await database.close()
  })

  it('begins a transaction anew in which a statement that it has kept is not there any more', async () => {
    const database = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })
    const sql = kept('select abs($1::integer) as it')
    await database.query(sql, [-1])
    let begun = 0

    const rows = await database.transaction(async (tx) => {
      if (begun++ === 0) await tx.query('deallocate all')
      return await tx.query(sql, [-2])
    })

    expect([begun, rows]).toEqual([2, [{ it: 2 }]])
    await database.close()
  })

  it('cancels a statement that takes too long, and is usable after it', async () => {
    const database = await openPostgres({ url: inject('databaseUrl'), poolSize: 1, statementTimeoutMs: 50 })

    const slow = database.query('select pg_sleep(5)')

    await expect(slow).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', details: { sqlstate: '57014' } })
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.close()
  })

  it('survives that the server ends its connection inside a transaction', async () => {
    const database = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })

    const ended = database.transaction(async (tx) => {
      const other = await openPostgres({ url: inject('databaseUrl'), poolSize: 1 })
      const [me] = await tx.query<{ pid: number }>('select pg_backend_pid() as pid')
      await other.query('select pg_terminate_backend($1, 5000)', [me?.pid])
      await other.close()
      await tx.query('select 1')
    })

    await expect(ended).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    expect(await database.query('select 1 as one')).toEqual([{ one: 1 }])
    await database.close()
  })

  it('tells operators by application_name who is connected', async () => {
    const database = await openPostgres({
      url: inject('databaseUrl'),
      poolSize: 1,
      applicationName: 'sevbus conductor',
    })

    const [row] = await database.query('show application_name')

    await database.close()
    expect(row).toEqual({ application_name: 'sevbus conductor' })
  })
})
