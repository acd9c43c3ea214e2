import { InvalidLibvirtMessage } from '../../../errors.ts'

/** Everything in XDR is a multiple of this many bytes (RFC 4506, section 3). */
const UNIT = 4

function padding(length: number): number {
  return (UNIT - (length % UNIT)) % UNIT
}

/** Reads XDR. Whatever the bytes say, nothing is read beyond them, and nothing allocated that is not there already. */
export class XdrReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  int(): number {
    return this.#bytes.readInt32BE(this.#advance(4))
  }

  uint(): number {
    return this.#bytes.readUInt32BE(this.#advance(4))
  }

  hyper(): bigint {
    return this.#bytes.readBigInt64BE(this.#advance(8))
  }

  uhyper(): bigint {
    return this.#bytes.readBigUInt64BE(this.#advance(8))
  }

  double(): number {
    return this.#bytes.readDoubleBE(this.#advance(8))
  }

  /** A view, no copy. */
  opaque(length: number): Buffer {
    const start = this.#advance(length + padding(length))
    return this.#bytes.subarray(start, start + length)
  }

  /** @throws InvalidLibvirtMessage when the peer says more than we understand */
  end(): void {
    const left = this.#bytes.length - this.#at
    if (left > 0) throw new InvalidLibvirtMessage(`${left} bytes after the end of the message`, { left })
  }

  #advance(length: number): number {
    const [at, left] = [this.#at, this.#bytes.length - this.#at]
    if (length > left) {
      throw new InvalidLibvirtMessage(`the message ends at byte ${at + left}, ${length} bytes were to come at ${at}`, {
        at,
        wanted: length,
        left,
      })
    }
    this.#at += length
    return at
  }
}

/** Most calls are shorter than this. */
const FIRST_SIZE = 256

/** Writes XDR into a buffer that grows. */
export class XdrWriter {
  #bytes = Buffer.allocUnsafe(FIRST_SIZE)
  #length = 0

  int(value: number): void {
    const at = this.#grow(4)
    this.#bytes.writeInt32BE(value, at)
  }

  uint(value: number): void {
    const at = this.#grow(4)
    this.#bytes.writeUInt32BE(value, at)
  }

  hyper(value: bigint): void {
    const at = this.#grow(8)
    this.#bytes.writeBigInt64BE(value, at)
  }

  uhyper(value: bigint): void {
    const at = this.#grow(8)
    this.#bytes.writeBigUInt64BE(value, at)
  }

  double(value: number): void {
    const at = this.#grow(8)
    this.#bytes.writeDoubleBE(value, at)
  }

  opaque(bytes: Buffer): void {
    const at = this.#grow(bytes.length + padding(bytes.length))
    bytes.copy(this.#bytes, at)
    this.#bytes.fill(0, at + bytes.length, this.#length)
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }

  #grow(length: number): number {
    const at = this.#length
    this.#length += length
    if (this.#length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(this.#length, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, at)
      this.#bytes = larger
    }
    return at
  }
}
