/** Type, channel, size; and a byte at the end. */
const HEADER_BYTES = 7
const METHOD_FRAME = 1
/** Class 60, method 30. */
const BASIC_CANCEL = (60 << 16) + 30
/** Class 60, method 21. */
const BASIC_CONSUME_OK = (60 << 16) + 21
/** Class 60, method 31. */
const BASIC_CANCEL_OK = (60 << 16) + 31
/** Class 10, method 51. */
const CONNECTION_CLOSE_OK = (10 << 16) + 51
/** Class 10, method 41. */
const CONNECTION_OPEN_OK = (10 << 16) + 41

/** Takes out of what a broker says that it has cancelled a consumer: then only looking tells that it is lost. */
export function withoutCancels(): (bytes: Buffer) => Buffer {
  return frames((frame) => (isMethod(frame, BASIC_CANCEL) ? [] : [frame]))
}

/** A broker whose queues hang, so many times: it makes consumers and never says so, and its heartbeats go on. */
export function withoutConsumeOks(times: number): () => (bytes: Buffer) => Buffer {
  let left = times
  return () => frames((frame) => (isMethod(frame, BASIC_CONSUME_OK) && left-- > 0 ? [] : [frame]))
}

/** A broker that makes so many consumers, and then says nothing more on that channel; on others it speaks. Calls `onHang` as it begins. */
export function hangsAfterConsumers(times: number, onHang: () => void): () => (bytes: Buffer) => Buffer {
  let seen = 0
  return () => {
    let hung: number | undefined
    return frames((frame) => {
      if (isMethod(frame, BASIC_CONSUME_OK) && seen++ === times) {
        hung = channelOf(frame)
        onHang()
      }
      return channelOf(frame) === hung ? [] : [frame]
    })
  }
}

/** A broker that ends each consumer and never says so. */
export function withoutCancelOks(): (bytes: Buffer) => Buffer {
  return frames((frame) => (isMethod(frame, BASIC_CANCEL_OK) ? [] : [frame]))
}

/** A broker that never says that it has closed a connection, though it lives. */
export function withoutCloseOks(): (bytes: Buffer) => Buffer {
  return frames((frame) => (isMethod(frame, CONNECTION_CLOSE_OK) ? [] : [frame]))
}

/** A broker that hangs with all queues of the first connection, and with its end. */
export function firstHangs(): () => (bytes: Buffer) => Buffer {
  let isFirst = true
  return () => {
    const hangs = isFirst
    isFirst = false
    return frames((frame) =>
      hangs && (isMethod(frame, BASIC_CONSUME_OK) || isMethod(frame, CONNECTION_CLOSE_OK)) ? [] : [frame],
    )
  }
}

/** A broker that in one go opens the first connection and closes it. @param reason AMQP's code, and its text */
export function closedAsItOpens(reason: {
  readonly code: number
  readonly text: string
}): () => (bytes: Buffer) => Buffer {
  let isFirst = true
  return () =>
    frames((frame) => {
      if (!isMethod(frame, CONNECTION_OPEN_OK) || !isFirst) return [frame]
      isFirst = false
      return [frame, connectionClose(reason)]
    })
}

function frames(pass: (frame: Buffer) => readonly Buffer[]): (bytes: Buffer) => Buffer {
  let rest: Buffer = Buffer.of()
  return (bytes) => {
    rest = Buffer.concat([rest, bytes])
    const passed: Buffer[] = []
    for (let size = frameSize(rest); size <= rest.length; size = frameSize(rest)) {
      passed.push(...pass(rest.subarray(0, size)))
      rest = rest.subarray(size)
    }
    return Buffer.concat(passed)
  }
}

/** Class 10, method 50: a code with a text, and of which method. */
function connectionClose({ code, text }: { readonly code: number; readonly text: string }): Buffer {
  const start = Buffer.from([0, 10, 0, 50, code >> 8, code & 255, text.length])
  const body = Buffer.concat([start, Buffer.from(text), Buffer.alloc(4)])
  const header = Buffer.alloc(HEADER_BYTES)
  header[0] = METHOD_FRAME
  header.writeUInt32BE(body.length, 3)
  return Buffer.concat([header, body, Buffer.from([0xce])])
}

function frameSize(bytes: Buffer): number {
  return bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt32BE(3) + 1
}

function channelOf(frame: Buffer): number {
  return frame.readUInt16BE(1)
}

function isMethod(frame: Buffer, method: number): boolean {
  return frame[0] === METHOD_FRAME && frame.readUInt32BE(HEADER_BYTES) === method
}
