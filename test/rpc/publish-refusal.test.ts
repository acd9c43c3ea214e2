import { afterAll, describe, expect, it, onTestFinished } from 'vitest'
import { RabbitTransport } from '../../src/rpc/drivers/rabbit.ts'
import type { Destination } from '../../src/rpc/transport.ts'
import { notRun } from '../servers/not-run.ts'
import { ownBroker } from '../support/own-broker.ts'
import { addPoorUser } from '../support/poor-user.ts'
import { freshNames, silent } from '../support/transports.ts'

const started = await ownBroker()

if (started === undefined) {
  notRun({
    name: 'a user of the broker who may not write',
    why: 'RabbitMQ is not installed, and a container cannot be told so here',
    how: 'apt-get install rabbitmq-server',
  })
} else {
  const broker = started
  describe('a message that our user may not write', () => {
    afterAll(() => broker.close())

    async function openPoor(name: string, mayWrite: string) {
      const user = await addPoorUser(broker, name, mayWrite)
      const reasons: string[] = []
      const onWaiting = (reason: string) => reasons.push(reason)
      const transport = new RabbitTransport({ url: user.url, logger: silent, onWaiting })
      onTestFinished(() => transport.close())
      const { exchange, topicPrefix } = freshNames()
      const denied = { kind: 'topic', exchange, topic: `${topicPrefix}work` } as const satisfies Destination
      return { user, transport, reasons, exchange, denied }
    }

    it('is refused by name and with the fix, however many are sent at a time, and costs no connection', async () => {
      const { transport, reasons, exchange, denied } = await openPoor('nobody', '^$')
      const sixTimes = async () => {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 6 }, () => transport.publish(denied, { body: '{}', mandatory: true })),
        )
        return outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : outcome.status))
      }

      const errors = [...(await sixTimes()), ...(await sixTimes())]

      const reason = `ACCESS_REFUSED - access to exchange '${exchange}' in vhost '/' refused for user 'nobody'`
      const fix = `let the user write to it: rabbitmqctl set_permissions -p / nobody CONFIGURE WRITE READ, with a WRITE that matches ${exchange}`
      expect(errors).toMatchObject(
        Array.from({ length: 12 }, () => ({
          code: 'TOPOLOGY_MISMATCH',
          retryable: false,
          message: `the broker refuses a message to ${denied.topic}: ${reason}; ${fix}`,
          details: { what: `exchange ${exchange}`, destination: denied.topic, reason, fix },
        })),
      )
      expect({ reasons, counts: transport.counts }).toMatchObject({
        reasons: [],
        counts: { reconnects: 0, published: { refused: 12, lost: 0 } },
      })
    })

    it('names the exchange without a name as RabbitMQ does, to which replies go', async () => {
      const { transport } = await openPoor('mute', '^$')

      await expect(
        transport.publish({ kind: 'queue', queue: 'reply_x' }, { body: '{}', mandatory: true }),
      ).rejects.toMatchObject({ code: 'TOPOLOGY_MISMATCH', details: { what: 'exchange amq.default' } })
    })

    it('names the permission on topics where it is that which lacks', async () => {
      const { transport, exchange, denied } = await openPoor('offtopic', '.*')
      const { topic } = denied
      await transport.declare({ kind: 'notification', exchange, topic, priority: 'info' })
      await broker.control('set_topic_permissions', '-p', '/', 'offtopic', exchange, '^$', '.*')

      await expect(transport.publish(denied, { body: '{}', mandatory: true })).rejects.toMatchObject({
        code: 'TOPOLOGY_MISMATCH',
        details: {
          what: `exchange ${exchange}`,
          fix: `let the user write this topic: rabbitmqctl set_topic_permissions -p / offtopic ${exchange} WRITE READ`,
        },
      })
    })

    it('goes out as soon as the user may write, over the same connection', async () => {
      const { user, transport, denied } = await openPoor('forgiven', '^$')
      const message = { body: '{}', mandatory: false }
      await expect(transport.publish(denied, message)).rejects.toMatchObject({ code: 'TOPOLOGY_MISMATCH' })

      await user.mayWrite('.*')

      await transport.publish(denied, message)
      expect(transport.counts.reconnects).toBe(0)
    })
  })
}
