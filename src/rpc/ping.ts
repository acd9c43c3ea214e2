import { z } from 'zod'
import { call, defineApi } from './contract.ts'
import { decodeMessage, type EncodedMessage } from './envelope.ts'

const PING = 'oslo_rpc_server_ping'
const PING_BYTES = Buffer.from(PING)

const ping = call({
  wire: PING,
  since: '1.0',
  summary: 'Says that the server takes requests and answers them.',
  input: z.looseObject({}),
  output: z.literal('pong'),
})

/**
 * What every server answers beside its own contracts: the method that oslo.messaging adds with `rpc_ping_enabled`, in no
 * namespace, version 1.0, with whatever arguments.
 *
 * @param service whose servers are asked: the topic without its prefix
 */
export function pingApiOf(service: string) {
  return defineApi({ service, version: '1.0', methods: { ping } })
}

/** Told from the bytes, for nearly no message is one; only one that has the word in it is read for it. */
export function isPing(message: EncodedMessage): boolean {
  if (!message.body.includes(PING_BYTES)) return false
  try {
    return decodeMessage(message).method === PING
  } catch {
    return false
  }
}
