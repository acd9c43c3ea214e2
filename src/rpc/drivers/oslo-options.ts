import { wrongUrl } from './transport-url.ts'

export type LoginMethod = 'PLAIN' | 'AMQPLAIN' | 'EXTERNAL'

/** oslo.messaging's options for RabbitMQ that say something here; undefined where the URL says nothing. */
export interface OsloOptions {
  readonly durableQueues: boolean | undefined
  readonly quorumQueues: boolean | undefined
  readonly transientQuorumQueues: boolean | undefined
  readonly quorumDeliveryLimit: number | undefined
  readonly quorumMaxMemoryLength: number | undefined
  readonly quorumMaxMemoryBytes: number | undefined
  readonly transientQueuesTtlSeconds: number | undefined
  readonly heartbeatSeconds: number | undefined
  readonly ssl: boolean | undefined
  readonly caFile: string | undefined
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
  readonly verifyHostname: boolean | undefined
  readonly loginMethod: LoginMethod | undefined
  /** Names of options that are oslo.messaging's and change nothing here. */
  readonly withoutEffect: readonly string[]
}

/** We reconnect, retry, pool and name queues in our own way; peers do not see the difference. */
const WITHOUT_EFFECT = [
  ...['kombu_reconnect_delay', 'kombu_reconnect_splay', 'kombu_failover_strategy', 'kombu_compression'],
  ...['kombu_missing_consumer_retry_timeout', 'rabbit_retry_interval', 'rabbit_retry_backoff', 'rabbit_interval_max'],
  ...['rabbit_qos_prefetch_count', 'heartbeat_rate', 'heartbeat_in_pthread', 'direct_mandatory_flag'],
  ...['enable_cancel_on_failover', 'use_queue_manager', 'hostname', 'processname'],
  ...['rpc_conn_pool_size', 'conn_pool_min_size', 'conn_pool_ttl'],
]

/** Switched on they would change what is declared or promised, in a way that is not ours. */
const REFUSED = {
  amqp_auto_delete:
    'a queue that goes with its last consumer loses what waits in it; switch it off here and at every peer',
  rabbit_stream_fanout:
    'each server has a fanout queue of its own here; leave it out: peers with it are reached all the same, with rabbit_transient_quorum_queue on both sides',
  ssl_enforce_fips_mode: 'leave it out, and start Node with --force-fips',
} as const

/** RabbitMQ takes 32 bits of milliseconds as x-expires. */
const MAX_TTL_SECONDS = 4_294_967
const MAX_HEARTBEAT_SECONDS = 65_535

/**
 * Reads the options behind the question mark by their names in oslo.messaging's section [oslo_messaging_rabbit], and
 * `heartbeat` of other libraries' URLs.
 *
 * @throws InvalidConfiguration naming the option, never its value
 */
export function readOsloOptions(query: string): OsloOptions {
  const given = new GivenOptions(query)
  for (const [option, why] of Object.entries(REFUSED)) {
    if (given.truth(option)) throw wrongUrl(`its option ${option} is not supported`, why)
  }
  const read = {
    durableQueues: given.truth('amqp_durable_queues'),
    quorumQueues: given.truth('rabbit_quorum_queue'),
    transientQuorumQueues: given.truth('rabbit_transient_quorum_queue'),
    quorumDeliveryLimit: given.count('rabbit_quorum_delivery_limit'),
    // oslo.messaging 14 misspells them.
    quorumMaxMemoryLength: given.count('rabbit_quorum_max_memory_length', 'rabbit_quroum_max_memory_length'),
    quorumMaxMemoryBytes: given.count('rabbit_quorum_max_memory_bytes', 'rabbit_quroum_max_memory_bytes'),
    transientQueuesTtlSeconds: given.count('rabbit_transient_queues_ttl'),
    heartbeatSeconds: given.count('heartbeat_timeout_threshold', 'heartbeat'),
    ssl: given.truth('ssl'),
    caFile: given.text('ssl_ca_file'),
    certFile: given.text('ssl_cert_file'),
    keyFile: given.text('ssl_key_file'),
    verifyHostname: given.truth('ssl_enforce_hostname_verification'),
    loginMethod: given.oneOf('rabbit_login_method', ['PLAIN', 'AMQPLAIN', 'EXTERNAL']),
  }
  const tlsVersion = given.oneOf('ssl_version', ['SSLv23', 'TLSv1_2'])
  const isMirrored = given.truth('rabbit_ha_queues') ?? false
  if (isMirrored && read.quorumQueues) {
    throw wrongUrl('rabbit_ha_queues and rabbit_quorum_queue are both on', 'leave rabbit_ha_queues out')
  }
  if (read.transientQueuesTtlSeconds === 0) {
    throw wrongUrl('rabbit_transient_queues_ttl is 0', 'write seconds: queues of processes that are gone must go, too')
  }
  atMost(MAX_TTL_SECONDS, 'rabbit_transient_queues_ttl', read.transientQueuesTtlSeconds)
  atMost(MAX_HEARTBEAT_SECONDS, 'heartbeat_timeout_threshold', read.heartbeatSeconds)
  return {
    ...read,
    // Policies mirror queues since RabbitMQ 3.0, and the argument is not compared: peers may have it.
    withoutEffect: [
      ...given.rest(),
      ...(tlsVersion ? ['ssl_version'] : []),
      ...(isMirrored ? ['rabbit_ha_queues'] : []),
    ],
  }
}

class GivenOptions {
  readonly #values = new Map<string, string>()
  readonly #read = new Set<string>()

  constructor(query: string) {
    for (const [option, value] of new URLSearchParams(query)) {
      if (this.#values.has(option) && this.#values.get(option) !== value) {
        throw wrongUrl('it has an option twice, with two values', 'write each option once')
      }
      this.#values.set(option, value)
    }
  }

  /** As oslo.config reads a boolean. */
  truth(option: string): boolean | undefined {
    const text = this.text(option)?.toLowerCase()
    if (text === undefined) return undefined
    if (['1', 'true', 'yes', 'on'].includes(text)) return true
    if (['0', 'false', 'no', 'off'].includes(text)) return false
    throw wrongUrl(`its option ${option} is neither true nor false`, 'write 1 or 0')
  }

  /** @param spellings of one option; those that are given must agree */
  count(...spellings: readonly [string, ...string[]]): number | undefined {
    const numbers = spellings.flatMap((option) => {
      const text = this.text(option)
      if (text === undefined) return []
      if (!/^\d{1,15}$/.test(text)) throw wrongUrl(`its option ${option} is not a whole number`, 'write digits only')
      return [Number(text)]
    })
    if (new Set(numbers).size > 1) throw wrongUrl(`its options ${spellings.join(' and ')} differ`, 'write one of them')
    return numbers[0]
  }

  oneOf<const T extends string>(option: string, values: readonly T[]): T | undefined {
    const text = this.text(option)
    const value = values.find((known) => known === text)
    if (text === undefined || value !== undefined) return value
    throw wrongUrl(`its option ${option} is none of ${values.join(', ')}`, 'write one of these')
  }

  /** An empty value is oslo.config's way to say nothing. */
  text(option: string): string | undefined {
    this.#read.add(option)
    return this.#values.get(option) || undefined
  }

  /** @throws InvalidConfiguration when anything else than what is known is left */
  rest(): readonly string[] {
    const rest = [...this.#values.keys()].filter((option) => !this.#read.has(option))
    if (rest.every((option) => WITHOUT_EFFECT.includes(option))) return rest
    const position = [...this.#values.keys()].findIndex(
      (option) => rest.includes(option) && !WITHOUT_EFFECT.includes(option),
    )
    const known = [...this.#read, ...WITHOUT_EFFECT].toSorted().join(', ')
    throw wrongUrl(`its option ${position + 1} is not known`, `known are ${known}`)
  }
}

function atMost(max: number, option: string, value: number | undefined): void {
  if (value !== undefined && value > max)
    throw wrongUrl(`its option ${option} is above ${max}`, 'write a smaller number')
}
