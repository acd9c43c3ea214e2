import { type ConfirmChannel, connect } from 'amqplib'

/**
 * Does something to a broker that none of ours would do, over a connection of its own. What is published has arrived when it ends:
 * RabbitMQ 3.10 loses one of fifty messages to a quorum queue whose channel is closed before they are confirmed.
 */
export async function onChannel<T>(url: string, work: (channel: ConfirmChannel) => Promise<T>): Promise<T> {
  const connection = await connect(url)
  try {
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => {})
    const result = await work(channel)
    await channel.waitForConfirms()
    return result
  } finally {
    await connection.close()
  }
}
