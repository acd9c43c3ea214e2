import type { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'

/** What amqplib 2 has inside, as far as it is touched here. */
interface Connection {
  readonly stream: Duplex
  readonly muxer: { unpipeFrom(buffer: unknown): void }
  readonly channels: { buffer: unknown }[]
  freshChannel(...args: readonly unknown[]): number
}

/**
 * Frames go straight to the socket, and what is written in one turn of the event loop leaves in one system call. By
 * itself amqplib takes each frame through a stream of its channel and a multiplexer, to a system call of its own: together
 * half of what it costs.
 */
export function writeTogether(model: ChannelModel): void {
  const connection = model.connection as unknown as Connection
  corkForTheTurn(connection.stream)
  const { freshChannel } = connection
  connection.freshChannel = (...args) => {
    const number = Reflect.apply(freshChannel, connection, args)
    const channel = connection.channels[number] as Connection['channels'][number]
    connection.muxer.unpipeFrom(channel.buffer)
    channel.buffer = { write: (frame: Buffer) => connection.stream.write(frame), end() {} }
    return number
  }
}

function corkForTheTurn(stream: Duplex): void {
  const write = stream.write
  let isCorked = false
  const uncork = () => {
    isCorked = false
    stream.uncork()
  }
  stream.write = (...args: unknown[]) => {
    if (!isCorked) {
      isCorked = true
      stream.cork()
      setImmediate(uncork)
    }
    return Reflect.apply(write, stream, args)
  }
}
