import { agreed, contradiction } from './agreed.ts'
import type { OsloOptions } from './oslo-options.ts'
import { DEFAULT_UNUSED_QUEUE_TTL_SECONDS, type Topology, type TopologyName } from './rabbit-topology.ts'

export interface TopologyOptions {
  /** How shared queues are declared; `quorum` when the URL does not say either. */
  readonly topology?: TopologyName | undefined
  /** Fanout and reply queues are quorum queues, fanout exchanges durable: oslo's `rabbit_transient_quorum_queue`. */
  readonly transientQuorumQueues?: boolean | undefined
  /** `x-delivery-limit` of shared quorum queues. */
  readonly quorumDeliveryLimit?: number | undefined
  /** `x-max-in-memory-length` of shared quorum queues. */
  readonly quorumMaxMemoryLength?: number | undefined
  /** `x-max-in-memory-bytes` of shared quorum queues. */
  readonly quorumMaxMemoryBytes?: number | undefined
}

/** What the configuration and oslo.messaging's options declare together. @throws InvalidConfiguration naming both */
export function topologyOf(options: TopologyOptions, said: OsloOptions): Topology {
  const name = topologyName(options.topology, said)
  const limits = {
    'x-delivery-limit': agreed(
      'quorum_delivery_limit',
      options.quorumDeliveryLimit,
      'rabbit_quorum_delivery_limit',
      said.quorumDeliveryLimit,
    ),
    'x-max-in-memory-length': agreed(
      'quorum_max_memory_length',
      options.quorumMaxMemoryLength,
      'rabbit_quorum_max_memory_length',
      said.quorumMaxMemoryLength,
    ),
    'x-max-in-memory-bytes': agreed(
      'quorum_max_memory_bytes',
      options.quorumMaxMemoryBytes,
      'rabbit_quorum_max_memory_bytes',
      said.quorumMaxMemoryBytes,
    ),
  }
  // 0 is oslo.messaging's way to say none.
  const quorumArguments = Object.fromEntries(
    Object.entries(limits).flatMap(([argument, value]) => (value ? [[argument, value]] : [])),
  )
  const [limit] = Object.keys(quorumArguments)
  if (name !== 'quorum' && limit !== undefined) {
    throw contradiction(`${limit} is for quorum queues, and the topology is ${name}`, 'leave the limit out')
  }
  return {
    name,
    quorumArguments,
    transientQuorumQueues:
      agreed(
        'transient_quorum_queues',
        options.transientQuorumQueues,
        'rabbit_transient_quorum_queue',
        said.transientQuorumQueues,
      ) ?? false,
    unusedQueueTtlSeconds: said.transientQueuesTtlSeconds ?? DEFAULT_UNUSED_QUEUE_TTL_SECONDS,
  }
}

/** oslo.messaging's options name a topology together, the one that is left out being off. */
function topologyName(configured: TopologyName | undefined, said: OsloOptions): TopologyName {
  const { quorumQueues, durableQueues } = said
  if (configured === undefined) {
    if (quorumQueues === undefined && durableQueues === undefined) return 'quorum'
    if (quorumQueues) return 'quorum'
    return durableQueues ? 'classic-durable' : 'oslo-default'
  }
  const contradicting = {
    quorum: { rabbit_quorum_queue: quorumQueues === false },
    'classic-durable': { rabbit_quorum_queue: quorumQueues === true, amqp_durable_queues: durableQueues === false },
    'oslo-default': { rabbit_quorum_queue: quorumQueues === true, amqp_durable_queues: durableQueues === true },
  }[configured]
  const [option] = Object.entries(contradicting).find(([, isSo]) => isSo) ?? []
  if (option === undefined) return configured
  const value = option === 'rabbit_quorum_queue' ? quorumQueues : durableQueues
  throw contradiction(
    `transport.topology is ${configured}, and the URL of the broker says ${option}=${value ? 1 : 0}`,
    'leave one of the two out',
  )
}
