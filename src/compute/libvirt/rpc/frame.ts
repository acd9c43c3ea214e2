import { InvalidLibvirtMessage } from '../../../errors.ts'
import { type Codec, int, struct, uint } from './codec.ts'
import { XdrReader, XdrWriter } from './xdr-bytes.ts'

/** What stands before each message. Source: virNetMessageHeader in src/rpc/virnetprotocol.x */
export interface Header {
  readonly program: number
  readonly version: number
  readonly procedure: number
  readonly type: number
  readonly serial: number
  readonly status: number
}

const header: Codec<Header> = struct<Header>({
  program: uint,
  version: uint,
  procedure: int,
  type: int,
  serial: uint,
  status: int,
})

/** virNetMessageType; streams and descriptors are not for us. */
export const MESSAGE_TYPE = { call: 0, reply: 1, message: 2 } as const
/** virNetMessageStatus */
export const STATUS = { ok: 0, error: 1 } as const

export interface Frame extends Header {
  readonly payload: Buffer
}

const LENGTH_BYTES = 4
const SHORTEST = LENGTH_BYTES + 24
/** VIR_NET_MESSAGE_MAX, which does not count the length itself. */
const LONGEST = LENGTH_BYTES + 32 * 1024 * 1024

export function encodeFrame<T>(head: Header, payload: Codec<T>, value: T): Buffer {
  const writer = new XdrWriter()
  writer.uint(0)
  header.write(writer, head)
  payload.write(writer, value)
  const bytes = writer.bytes()
  bytes.writeUInt32BE(checkedLength(bytes.length))
  return bytes
}

/** @throws InvalidLibvirtMessage unless the payload is one such value and nothing more */
export function decodePayload<T>({ payload }: Frame, codec: Codec<T>): T {
  const reader = new XdrReader(payload)
  const value = codec.read(reader)
  reader.end()
  return value
}

/** Cuts a stream of bytes into frames, however it is chopped up. Holds what has come, never what was announced. */
export class FrameSplitter {
  #chunks: Buffer[] = []
  #held = 0
  #wanted = LENGTH_BYTES

  /** @throws InvalidLibvirtMessage when the next frame cannot be one: nothing after it makes sense any more */
  push(chunk: Buffer, onFrame: (frame: Frame) => void): void {
    this.#chunks.push(chunk)
    this.#held += chunk.length
    if (this.#held < this.#wanted) return
    let rest = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks)
    this.#wanted = lengthOf(rest)
    while (rest.length >= this.#wanted) {
      onFrame(readFrame(rest.subarray(LENGTH_BYTES, this.#wanted)))
      rest = rest.subarray(this.#wanted)
      this.#wanted = lengthOf(rest)
    }
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#held = rest.length
  }
}

/** Of the frame that begins here; as long as that is unknown, of its length. */
function lengthOf(bytes: Buffer): number {
  return bytes.length < LENGTH_BYTES ? LENGTH_BYTES : checkedLength(bytes.readUInt32BE())
}

function checkedLength(length: number): number {
  if (length >= SHORTEST && length <= LONGEST) return length
  const facts = { length, shortest: SHORTEST, longest: LONGEST }
  throw new InvalidLibvirtMessage(`a message of ${length} bytes: libvirt's have ${SHORTEST} to ${LONGEST}`, facts)
}

function readFrame(bytes: Buffer): Frame {
  const reader = new XdrReader(bytes)
  return { ...header.read(reader), payload: bytes.subarray(SHORTEST - LENGTH_BYTES) }
}
