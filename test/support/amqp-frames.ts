/** Type, channel, size; and a byte at the end. */
const HEADER_BYTES = 7
const METHOD_FRAME = 1
/** Class 60, method 30. */
const BASIC_CANCEL = (60 << 16) + 30

/** Takes out of what a broker says that it has cancelled a consumer: then only looking tells that it is lost. */
export function withoutCancels(): (bytes: Buffer) => Buffer {
  let rest: Buffer = Buffer.of()
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    const passed: Buffer[] = []
    for (let size = frameSize(rest); size <= rest.length; size = frameSize(rest)) {
      const frame = rest.subarray(0, size)
      if (!isCancel(frame)) passed.push(frame)
      rest = rest.subarray(size)
    }
    return Buffer.concat(passed)
  }
}

function frameSize(bytes: Buffer): number {
  return bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt32BE(3) + 1
}

function isCancel(frame: Buffer): boolean {
  return frame[0] === METHOD_FRAME && frame.readUInt32BE(HEADER_BYTES) === BASIC_CANCEL
}
