import { describe, expect, it } from 'vitest'
import { EndedBuilds } from '../../src/compute/ended-builds.ts'
import { Journal } from '../../src/compute/journal/journal.ts'
import { RpcClient } from '../../src/rpc/client.ts'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import { decodeEnvelope } from '../../src/rpc/envelope.ts'
import { destinationName } from '../../src/rpc/transport.ts'
import { silent } from '../support/transports.ts'
import { aFolder } from './support/folders.ts'
import { anInstance } from './support/instances.ts'

const HOST = 'node1'
const AT = '2026-01-01T00:02:00.000Z'
const CONTEXT = { request_id: 'req-1' }
const TOGETHER = { reports_to: '_build-reports' }
const uuidOf = (n: number) => `${n}${'0'.repeat(7)}-1111-4111-8111-111111111111`
const reportOf = (n: number) => ({
  instance_uuid: uuidOf(n),
  attempt: 1,
  host: HOST,
  outcome: { result: 'active', launched_at: AT },
})

/** What is told of builds that end in one turn of the event loop, in the order in which they are given. */
async function told(
  builds: readonly { readonly context?: object; readonly reports_to?: string }[],
  meanwhile: (journal: Journal) => Promise<void> = async () => {},
) {
  const folder = await aFolder()
  const journal = await Journal.open({ folder, host: HOST })
  const client = new RpcClient({ transport: new MemoryBus().connect(), logger: silent })
  const announced: string[] = []
  const outbox = { announce: () => void announced.push('now') }
  const ended = new EndedBuilds({ host: HOST, journal, outbox, client, now: () => new Date(AT) })
  await Promise.all(
    builds.map((build, n) => {
      const instance = anInstance({ uuid: uuidOf(n) })
      return journal.append([
        { type: 'build_begun', instance, context: CONTEXT, interruptions: 0, ...(build as object) },
      ])
    }),
  )
  const begun = journal.builds()
  await meanwhile(journal)
  const isTold = await Promise.all(begun.map((build) => ended.run(build)))
  await journal.close()

  // As a worker finds it that was killed then.
  const reopened = await Journal.open({ folder, host: HOST })
  const messages = await reopened.take(100)
  const left = reopened.builds().map(({ instance }) => instance.uuid)
  await reopened.close()
  await client.close()
  const sent = messages.map(({ to, body }) => {
    const { method, args } = decodeEnvelope(Buffer.from(body), 'application/json')
    return { to: destinationName(to), method, args }
  })
  return { isTold, left, sent, announced }
}

describe('guests that come to run at a time', () => {
  it('are told in one message, to whom whoever has ordered them has named, and are in the journal with it', async () => {
    expect(await told([TOGETHER, TOGETHER, TOGETHER])).toEqual({
      isTold: [true, true, true],
      left: [],
      sent: [
        {
          to: 'sevbus-conductor._build-reports',
          method: 'report_builds',
          args: { reports: [reportOf(0), reportOf(1), reportOf(2)] },
        },
      ],
      announced: ['now'],
    })
  })

  it('are told each by itself to conductors that have named nobody, or where one alone is left, or is traced', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const context = { ...CONTEXT, traceparent }

    const { isTold, sent } = await told([{}, TOGETHER, { ...TOGETHER, context }])

    expect(isTold).toEqual([true, true, true])
    const alone = (n: number) => ({ to: 'sevbus-conductor', method: 'report_build', args: reportOf(n) })
    expect(sent).toEqual([alone(0), alone(1), alone(2)])
  })

  it('are told without one that something newer has come for: that finds its guest', async () => {
    const newer = (journal: Journal) =>
      journal.append([
        { type: 'terminate_begun', instance: anInstance({ uuid: uuidOf(1) }), context: CONTEXT, void: false },
      ])

    const { isTold, left, sent } = await told([TOGETHER, TOGETHER, TOGETHER], newer)

    expect(isTold).toEqual([true, false, true])
    expect(left).toEqual([])
    expect(sent.map(({ args }) => args)).toEqual([{ reports: [reportOf(0), reportOf(2)] }])
  })
})
