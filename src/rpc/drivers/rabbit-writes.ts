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
/** As long as each turn of the event loop brings something more to write; a few turns are far less than a millisecond. */
const MAX_TURNS = 8
/** Who writes so little at a time waits for each answer, and for nothing else to write. */
const FEW_FRAMES = 2

/** `each turn`: what one turn of the event loop writes. `while busy`: what several write, as long as more comes. */
export type Gathering = 'each turn' | 'while busy'

/**
 * Frames go straight to the socket, and many leave in one system call. By itself amqplib takes each frame through a
 * stream of its channel and a multiplexer, to a system call of its own: together half of what it costs.
 */
export function writeTogether(model: ChannelModel, gathering: Gathering): void {
  const connection = model.connection as unknown as Connection
  gatherWrites(connection.stream, gathering)
  const { freshChannel } = connection
  connection.freshChannel = (...args) => {
    const number = Reflect.apply(freshChannel, connection, args)
    const channel = connection.channels[number] as Connection['channels'][number]
    connection.muxer.unpipeFrom(channel.buffer)
    channel.buffer = { write: (frame: Buffer) => connection.stream.write(frame), end() {} }
    return number
  }
}

function gatherWrites(stream: Duplex, gathering: Gathering): void {
  const write = stream.write
  let [gathered, seen, turns, isBusy] = [0, 0, 0, false]
  const flush = () => {
    isBusy = gathering === 'while busy' && gathered > FEW_FRAMES
    gathered = 0
    stream.uncork()
  }
  const endTurn = () => {
    turns++
    const mayGrow = gathered > seen && turns < MAX_TURNS && stream.writableLength < FULL_BYTES
    seen = gathered
    if (mayGrow) setImmediate(endTurn)
    else flush()
  }
  stream.write = (...args: unknown[]) => {
    gathered++
    if (gathered === 1) {
      ;[seen, turns] = [1, 0]
      stream.cork()
      if (isBusy) setImmediate(endTurn)
      else process.nextTick(flush)
    }
    return Reflect.apply(write, stream, args)
  }
}
