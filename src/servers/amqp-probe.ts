import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'

const PROTOCOL_HEADER = Buffer.from([0x41, 0x4d, 0x51, 0x50, 0, 0, 9, 1]) // "AMQP" 0-9-1
const FRAME_HEADER_BYTES = 7
const CONNECTION_START = 0x000a000a // class 10, method 10
const PROBE_TIMEOUT_MS = 3_000

export interface Broker {
  /** As the broker calls itself: `RabbitMQ 4.2.1`. */
  readonly description: string
}

/**
 * Asks whoever listens at the URL whether it speaks AMQP 0-9-1; no login, so no password is needed or sent.
 * @returns undefined when nobody answers, or something that is no broker does
 */
export function probeBroker(url: string, signal?: AbortSignal): Promise<Broker | undefined> {
  const { protocol, hostname, port } = new URL(url)
  const secure = protocol === 'amqps:'
  const host = hostname.replace(/^\[|\]$/g, '')
  const address = { host, port: Number(port) || (secure ? 5671 : 5672) }
  // Certificates are checked by the client that logs in; here nothing secret is said.
  const socket = secure ? connectTls({ ...address, servername: host, rejectUnauthorized: false }) : connectTcp(address)
  socket.setTimeout(PROBE_TIMEOUT_MS, () => socket.destroy())
  const abort = () => socket.destroy()
  signal?.addEventListener('abort', abort, { once: true })
  return firstFrame(socket).finally(() => {
    signal?.removeEventListener('abort', abort)
    socket.destroy()
  })
}

function firstFrame(socket: Socket): Promise<Broker | undefined> {
  return new Promise((resolve) => {
    let received = Buffer.alloc(0)
    socket.on('error', () => resolve(undefined))
    socket.on('close', () => resolve(undefined))
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      if (received.length < FRAME_HEADER_BYTES) return
      const payloadBytes = received.readUInt32BE(3)
      if (payloadBytes > 65_536) resolve(undefined) // no greeting is that long
      if (received.length < FRAME_HEADER_BYTES + payloadBytes) return
      resolve(brokerIn(received.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + payloadBytes)))
    })
    socket.write(PROTOCOL_HEADER)
  })
}

function brokerIn(payload: Buffer): Broker | undefined {
  if (payload.length < 4 || payload.readUInt32BE(0) !== CONNECTION_START) return undefined
  const product = longString(payload, 'product') ?? 'an AMQP broker'
  const version = longString(payload, 'version')
  return { description: version === undefined ? product : `${product} ${version}` }
}

/** A long string among the server's properties: a table of short name, type `S`, length, bytes. */
function longString(payload: Buffer, name: string): string | undefined {
  const key = Buffer.concat([Buffer.from([name.length]), Buffer.from(`${name}S`)])
  const at = payload.indexOf(key)
  if (at === -1 || at + key.length + 4 > payload.length) return undefined
  const start = at + key.length + 4
  return payload.subarray(start, start + payload.readUInt32BE(at + key.length)).toString('utf8')
}
