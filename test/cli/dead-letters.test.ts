import { expect, it, vi } from 'vitest'
import { encodeRequest } from '../../src/rpc/request.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import { onChannel } from '../support/raw-channel.ts'
import { runHere } from '../support/run-here.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

it('dead letters are listed, shown without tokens, replayed and purged by hand', async () => {
  await using cloud = await ProcessCloud.open()
  await cloud.worker('conductor', 'c1')
  const run = async (...words: string[]) => {
    return await runHere(['dead-letters', ...words], cloud.env)
  }
  const list = async () => JSON.parse((await run('list', '--json')).out)
  expect((await run('list')).out).toBe('no dead letters\n')
  const exchange = cloud.env.SEVBUS_TRANSPORT_EXCHANGE as string
  const queue = `${exchange}-conductor`
  const context = newRequestContext({ request_id: 'req-7', auth_token: 'gAAAA-token' })
  const cast = { method: 'continue_build', namespace: undefined, version: '1.0', context }
  await onChannel(cloud.env.SEVBUS_TRANSPORT_URL as string, async (channel) => {
    for (const body of [encodeRequest({ ...cast, args: { wrong: 1 } }), 'not JSON']) {
      channel.publish(exchange, queue, Buffer.from(body), { contentType: 'application/json' })
    }
  })

  const letters = await vi.waitFor(async () => {
    const { dead_letters } = await list()
    expect(dead_letters).toHaveLength(2)
    return dead_letters
  }, 30_000)
  const ofBuild = letters.find(({ method }: { method: string | null }) => method === 'continue_build')
  expect(ofBuild).toMatchObject({ queue, tries: 1, code: 'INVALID_ARGUMENTS' })
  const table = await run('list')
  expect(table.out).toContain('METHOD')
  expect(table.out).toContain('INVALID_MESSAGE')
  const shown = await run('show', ofBuild.id)
  expect(shown.out).toContain('"_context_request_id": "req-7"')
  expect(shown.out).toContain('"_context_auth_token": "[hidden]"')
  expect(shown.out).not.toContain('gAAAA')

  const replayed = await run('replay', ofBuild.id, '--json')
  expect([replayed.code, JSON.parse(replayed.out).replayed.map(({ id }: { id: string }) => id)]).toEqual([
    0,
    [ofBuild.id],
  ])
  await vi.waitFor(async () => {
    const { dead_letters } = await list()
    // It was wrong still, and is parked again, under a new id.
    expect(dead_letters).toHaveLength(2)
    expect(dead_letters.map(({ id }: { id: string }) => id)).not.toContain(ofBuild.id)
  }, 30_000)

  expect((await run('replay')).out).toContain('which dead letters? name ids')
  const unknown = await run('show', 'nothing', '--json')
  expect([unknown.code, JSON.parse(unknown.out).error.code]).toEqual([4, 'DEAD_LETTER_NOT_FOUND'])
  const gone = await run('replay', ofBuild.id)
  expect([gone.code, gone.out]).toEqual([4, expect.stringContaining(`no dead letter has the id ${ofBuild.id}`)])
  expect(await run('purge', '--all')).toMatchObject({ code: 2 })
  const purged = await run('purge', '--all', '--yes')
  expect(purged.out).toContain('purged: 2')
  expect((await list()).dead_letters).toEqual([])
})
