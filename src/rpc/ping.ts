import { z } from 'zod'
import { call, defineApi } from './contract.ts'

const ping = call({
  wire: 'oslo_rpc_server_ping',
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
