import { connect } from 'amqplib'

/** Is sent what schedulers are sent, one by one through a queue of its own; parses it as oslo.messaging packs it, and acknowledges. */
const model = await connect(process.argv[2] ?? '')
const channel = await model.createChannel()
const { queue } = await channel.assertQueue('bench_reports', { durable: true, arguments: { 'x-queue-type': 'quorum' } })
const [, , , exchange = '', ...topics] = process.argv
for (const topic of topics) await channel.bindQueue(queue, exchange, topic)
await channel.prefetch(32)
await channel.consume(queue, (message) => {
  if (message === null) return
  JSON.parse(JSON.parse(message.content.toString())['oslo.message'])
  channel.ack(message)
})
process.once('SIGTERM', () => process.exit(0))
process.stderr.write('the bare reader is ready\n')
