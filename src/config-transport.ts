import { z } from 'zod'
import { type BrokerOptions, type BrokerSettings, brokerSettings, userIdOn } from './rpc/drivers/broker-settings.ts'
import { parseTransportUrl } from './rpc/drivers/transport-url.ts'

/** Where RabbitMQ listens when nobody changed it. */
export const DEFAULT_TRANSPORT_URL = 'amqp://guest:guest@127.0.0.1:5672/'

const Seconds = z.number().positive().max(86_400)
const Limit = z.int().min(0).max(1_000_000_000_000)
const File = z.string().min(1)
/** Names of users of the broker, as its administrator made them. */
export const Senders = z.array(z.string().min(1).max(255))

/** The section [transport] of the configuration. */
export const TransportSection = z
  .strictObject({
    /** `amqp(s)://user:password@host:5672/vhost`, or oslo.messaging's `rabbit://` with several hosts. */
    url: z.string().min(1).superRefine(isTransportUrl).default(DEFAULT_TRANSPORT_URL),
    /** What is declared on the broker: must be the same for all that share it. */
    topology: z.enum(['quorum', 'classic-durable', 'oslo-default']).optional(),
    /** Fanout and reply queues are quorum queues, too: oslo's rabbit_transient_quorum_queue. */
    transient_quorum_queues: z.boolean().optional(),
    /** Limit of redeliveries on shared quorum queues (x-delivery-limit); what exceeds it is dropped by the broker. */
    quorum_delivery_limit: Limit.max(2_147_483_647).optional(),
    /** x-max-in-memory-length of shared quorum queues. */
    quorum_max_memory_length: Limit.optional(),
    /** x-max-in-memory-bytes of shared quorum queues. */
    quorum_max_memory_bytes: Limit.optional(),
    /** PEM file of the authorities that may sign the broker's certificate; without it those that Node trusts. */
    ca_file: File.optional(),
    /** PEM file of our certificate, for brokers that demand one. */
    cert_file: File.optional(),
    /** PEM file of its key. */
    key_file: File.optional(),
    /** File of the passphrase that the key is encrypted with. */
    key_passphrase_file: File.optional(),
    /** False takes a trusted certificate of any host for the broker's. */
    verify_hostname: z.boolean().optional(),
    /** EXTERNAL: the broker takes our name from our certificate. */
    login_method: z.enum(['PLAIN', 'AMQPLAIN', 'EXTERNAL']).optional(),
    /** Say who sends each message; the broker checks it. False: it knows us by another name than we log in with. */
    send_user_id: z.boolean().default(true),
    /** Users of the broker whose messages and replies are taken; without any, everyone's. */
    allowed_senders: Senders.default([]),
    /** Topic exchange of our queues. */
    exchange: z.string().min(1).max(120).default('sevbus'),
    /** Before the names of our topics, so that a vhost shared with Nova does not collide. */
    topic_prefix: z.string().min(1).max(40).default('sevbus-'),
    /** AMQP heartbeat; two missed ones and the connection counts as lost. */
    heartbeat_seconds: z.int().min(1).max(65_535).default(60),
    /** oslo.messaging's rpc_response_timeout. */
    rpc_timeout_seconds: Seconds.default(60),
    /** Requests that a worker handles at a time. */
    concurrency: z.int().min(1).max(1024).default(32),
  })
  .superRefine(agreesWithItself)

type TransportSection = z.infer<typeof TransportSection>

/** What the driver is told of the section. */
export function brokerOptions(section: TransportSection): BrokerOptions {
  return {
    url: section.url,
    topology: section.topology,
    transientQuorumQueues: section.transient_quorum_queues,
    quorumDeliveryLimit: section.quorum_delivery_limit,
    quorumMaxMemoryLength: section.quorum_max_memory_length,
    quorumMaxMemoryBytes: section.quorum_max_memory_bytes,
    caFile: section.ca_file,
    certFile: section.cert_file,
    keyFile: section.key_file,
    keyPassphraseFile: section.key_passphrase_file,
    verifyHostname: section.verify_hostname,
    loginMethod: section.login_method,
    sendUserId: section.send_user_id,
    heartbeatSeconds: section.heartbeat_seconds,
  }
}

/** Says what is wrong with a broker's URL, without a word of it: any part may be a misplaced password. */
function isTransportUrl(url: string, context: z.RefinementCtx): void {
  const problem = problemOf(() => parseTransportUrl(url))
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
}

/** The URL has options, too; a URL that is wrong in itself has been told. */
function agreesWithItself(section: TransportSection, context: z.RefinementCtx): void {
  if (problemOf(() => parseTransportUrl(section.url)) !== undefined) return
  const problem = problemOf(() => checkIdentity(brokerSettings(brokerOptions(section)), section))
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
}

/** Who must say who they are must be told by us who we are: a worker sends messages to itself, too. */
function checkIdentity(settings: BrokerSettings, { allowed_senders }: TransportSection): void {
  if (allowed_senders.length === 0 || settings.hosts.every((host) => userIdOn(settings, host) !== undefined)) return
  const problem = 'allowed_senders is set, and our own messages do not say whose they are'
  throw new Error(`${problem}; write our user into the URL (amqps://user@…), and leave send_user_id true`)
}

function problemOf(check: () => unknown): string | undefined {
  try {
    check()
    return undefined
  } catch (error) {
    return (error as Error).message
  }
}
