import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { onChannel } from '../support/raw-channel.ts'
import { SevbusProcess } from '../support/sevbus-process.ts'
import { freshNames } from '../support/transports.ts'

const url = inject('amqpUrl')
const folder = mkdtempSync(join(tmpdir(), 'sevbus-trouble-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** A compute worker as an operator starts it; it ends by itself, for it cannot work on this broker. */
async function failingWorker(env: Record<string, string> = {}, names = freshNames()) {
  const worker = new SevbusProcess(['compute', '--host', 'h1'], {
    SEVBUS_TRANSPORT_URL: url,
    SEVBUS_TRANSPORT_EXCHANGE: names.exchange,
    SEVBUS_TRANSPORT_TOPIC_PREFIX: names.topicPrefix,
    SEVBUS_NOTIFICATIONS_EXCHANGE: `${names.exchange}-nova`,
    SEVBUS_NOTIFICATIONS_TOPIC: `${names.topicPrefix}notifications`,
    SEVBUS_COMPUTE_STATE_FOLDER: join(folder, names.exchange),
    ...env,
  })
  onTestFinished(() => worker.kill('SIGKILL'))
  const code = await worker.exited()
  return { code, output: worker.output }
}

/** What the test and the worker have made, of these names. */
function removeAfterwards({ exchange, topicPrefix }: ReturnType<typeof freshNames>): void {
  const queues = ['compute', 'compute.h1', 'dead-letters', 'notifications.info', 'notifications.error']
  onTestFinished(() =>
    onChannel(url, async (channel) => {
      for (const name of queues) await channel.deleteQueue(`${topicPrefix}${name}`)
      for (const name of [exchange, `${exchange}-nova`, `${topicPrefix}compute_fanout`])
        await channel.deleteExchange(name)
    }),
  )
}

describe('a worker on a broker that it cannot work with', () => {
  it('ends with the queue, both values and the option to change, when the queue was declared otherwise', async () => {
    const names = freshNames()
    removeAfterwards(names)
    const queue = `${names.topicPrefix}compute`
    await onChannel(url, (channel) => channel.assertQueue(queue, { durable: true }))

    const { code, output } = await failingWorker({}, names)

    expect(code).toBe(2)
    expect(output).toContain(
      `error TOPOLOGY_MISMATCH: the queue ${queue} is on the broker with x-queue-type none, and is declared here with quorum`,
    )
    expect(output).toContain('; set transport.topology = "classic-durable" (amqp_durable_queues=1 in the URL)')
  })

  it("ends with the exchange of the notifications, when its owner's options are others", async () => {
    const names = freshNames()
    removeAfterwards(names)
    const exchange = `${names.exchange}-nova`
    await onChannel(url, (channel) => channel.assertExchange(exchange, 'topic', { durable: false }))

    const { code, output } = await failingWorker({}, names)

    expect(code).toBe(2)
    expect(output).toContain(`error TOPOLOGY_MISMATCH: the exchange ${exchange} is on the broker with durable false`)
    expect(output).toContain('; set transport.topology = "oslo-default"')
  })

  it('ends with the file of TLS that is not there', async () => {
    const missing = join(folder, 'missing.pem')

    const { code, output } = await failingWorker({
      SEVBUS_TRANSPORT_URL: 'amqps://guest:s3cr3t@127.0.0.1:1/',
      SEVBUS_TRANSPORT_CA_FILE: missing,
    })

    expect(code).toBe(2)
    expect(output).toContain(`transport.ca_file (ssl_ca_file): ${missing} cannot be read (ENOENT)`)
    expect(output).not.toContain('s3cr3t')
  })
})
