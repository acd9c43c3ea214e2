import type { Duplex } from 'node:stream'
import type { ChannelModel } from 'amqplib'

/** What amqplib 2 has inside, as far as it is touched here. */
interface Connection {
  readonly stream: Duplex
  readonly muxer: { unpipeFrom(buffer: unknown): void }
  readonly channels: { buffer: unknown }[]
  freshChannel(...args: readonly unknown[]): number
}

/** More than one system call takes at once. */
const FULL_BYTES = 128 * 1024

/**
 * Frames go straight to the socket, and what is written in one turn of the event loop leaves in one system call. By
 * itself amqplib takes each frame through a stream of its channel and a multiplexer, to a system call of its own: together
 * half of what it costs.
 *
 * @param maxTurns as long as each turn of the event loop brings something more to write, wait so many: a busy process
 *   then writes less often, an idle one at once
 */
export function writeTogether(model: ChannelModel, maxTurns: number): void {
  const connection = model.connection as unknown as Connection
  gatherWrites(connection.stream, maxTurns)
  const { freshChannel } = connection
  connection.freshChannel = (...args) => {
    const number = Reflect.apply(freshChannel, connection, args)
    const channel = connection.channels[number] as Connection['channels'][number]
    connection.muxer.unpipeFrom(channel.buffer)
    channel.buffer = { write: (frame: Buffer) => connection.stream.write(frame), end() {} }
    return number
  }
}

function gatherWrites(stream: Duplex, maxTurns: number): void {
  const write = stream.write
  let [gathered, seen, turns] = [0, 0, 0]
  const endTurn = () => {
    turns++
    const mayGrow = gathered > seen && turns < maxTurns && stream.writableLength < FULL_BYTES
    seen = gathered
    if (mayGrow) return void setImmediate(endTurn)
    gathered = 0
    stream.uncork()
  }
  stream.write = (...args: unknown[]) => {
    gathered++
    if (gathered === 1) {
      ;[seen, turns] = [1, 0]
      stream.cork()
      setImmediate(endTurn)
    }
    return Reflect.apply(write, stream, args)
  }
}
