import { type ExchangeDeclaration, KEPT_DELIVERY_LIMIT, type QueueDeclaration } from './rabbit-topology.ts'

/** What to change where the broker has another value than we declare. */
export interface Remedy {
  /** Key of our configuration. */
  readonly option?: string
  /** The same as an option of the URL. */
  readonly oslo_option?: string
  readonly fix: string
}

/** Arguments of shared quorum queues, and where they are configured. */
const QUORUM_LIMITS: Readonly<Record<string, string>> = {
  'x-delivery-limit': 'quorum_delivery_limit',
  'x-max-in-memory-length': 'quorum_max_memory_length',
  'x-max-in-memory-bytes': 'quorum_max_memory_bytes',
}

/** @param have what the broker says it has; `none` for an argument that was not given */
export function remedyFor(declaration: ExchangeDeclaration | QueueDeclaration, argument: string, have: string): Remedy {
  return declaration.kind === 'exchange'
    ? exchangeRemedy(declaration, argument, have)
    : queueRemedy(declaration, argument, have)
}

function exchangeRemedy({ type }: ExchangeDeclaration, argument: string, have: string): Remedy {
  const isFanout = type === 'fanout'
  if (argument === 'type') {
    const option = isFanout ? 'transport.topic_prefix' : 'transport.exchange'
    return {
      option,
      fix: `the name is taken: configure another ${option}${isFanout ? '' : ' (notifications.exchange)'}`,
    }
  }
  if (argument === 'durable' && !isFanout) return topologyRemedy(have === 'true' ? DURABLE : TRANSIENT, 'exchange')
  if (argument === 'durable') {
    const [key, option] = ['transport.transient_quorum_queues', 'rabbit_transient_quorum_queue']
    const fix = `set ${key} = ${have} (${option}=${have === 'true' ? 1 : 0} in the URL) as those who made it, or ${anew('exchange')}`
    return { option: key, oslo_option: option, fix }
  }
  return { fix: anew('exchange') }
}

function queueRemedy(declaration: QueueDeclaration, argument: string, have: string): Remedy {
  const key = QUORUM_LIMITS[argument]
  if (argument === 'durable') return topologyRemedy(have === 'true' ? DURABLE : TRANSIENT, 'queue')
  if (argument === 'x-queue-type') return topologyRemedy(topologyOf(declaration, have), 'queue')
  if (argument === 'auto_delete')
    return { fix: `switch amqp_auto_delete off at those who made it, and ${anew('queue')}` }
  // That of dead letters is nobody's choice.
  if (key === undefined || (isKept(declaration) && argument === 'x-delivery-limit')) {
    return { fix: `${anew('queue')}; set limits by policies of the broker, which nobody has to declare` }
  }
  const value = have === 'none' ? 0 : have
  const [option, urlOption] = [`transport.${key}`, `rabbit_${key}`]
  const fix = `set ${option} = ${value} (${urlOption}=${value} in the URL) as those who made it, or ${anew('queue')}`
  return { option, oslo_option: urlOption, fix }
}

/** Which topology those who made a queue have; durable ones of dead letters are the same in two of them. */
function topologyOf(declaration: QueueDeclaration, type: string): typeof QUORUM {
  if (type === 'quorum') return QUORUM
  return isKept(declaration) ? NOT_QUORUM : CLASSIC
}

/** For dead letters, declared as quorum. */
function isKept(declaration: QueueDeclaration): boolean {
  return declaration.arguments['x-delivery-limit'] === KEPT_DELIVERY_LIMIT
}

/** Topologies by what the broker shows of them, with the URL's way to say the same. */
const QUORUM = { names: '"quorum"', url: 'rabbit_quorum_queue=1' }
const CLASSIC = { names: '"classic-durable"', url: 'amqp_durable_queues=1' }
const DURABLE = { names: '"quorum" or "classic-durable"', url: `${QUORUM.url} or ${CLASSIC.url}` }
const NOT_QUORUM = {
  names: '"classic-durable", or "oslo-default" where the exchange of the topics is not durable',
  url: `${CLASSIC.url}, or rabbit_quorum_queue=0`,
}
const TRANSIENT = { names: '"oslo-default"', url: 'rabbit_quorum_queue=0' }

function topologyRemedy({ names, url }: typeof QUORUM, kind: 'queue' | 'exchange'): Remedy {
  return {
    option: 'transport.topology',
    oslo_option: url,
    fix: `set transport.topology = ${names} (${url} in the URL) as those who made it, or ${anew(kind)}`,
  }
}

function anew(kind: 'queue' | 'exchange'): string {
  return `delete the ${kind} when nobody needs what is in it: it is declared anew`
}
