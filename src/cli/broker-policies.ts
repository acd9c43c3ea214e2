import type { Config } from '../config.ts'
import { InvalidArguments } from '../errors.ts'
import { parseTransportUrl } from '../rpc/drivers/transport-url.ts'
import { EXIT } from './exit-codes.ts'
import { print, printJson } from './output.ts'
import { type GlobalOptions, loadCliConfig } from './session.ts'

export interface PolicyOptions extends GlobalOptions {
  readonly maxBytes?: string
}

/** As `rabbitmqctl set_policy` and the management API take it. */
export interface BrokerPolicy {
  readonly vhost: string
  readonly name: string
  readonly pattern: string
  readonly definition: Readonly<Record<string, string | number>>
  readonly 'apply-to': 'queues'
  readonly priority: number
}

const MIB = 1024 * 1024
/** Of each queue: hundreds of thousands of notifications, on a broker with some GiB of disk to spare. */
const DEFAULT_MAX_BYTES = 1024 * MIB

/**
 * Bounds of the queues that somebody may have stopped to read. By policy: an argument of a queue that Python peers declare,
 * too, would lock them out. What is over is refused, not dropped, and waits in the outbox.
 */
export async function brokerPolicies(options: PolicyOptions): Promise<number> {
  const policies = policiesOf(loadCliConfig(options), maxBytesOf(options))
  if (options.json) printJson(policies)
  else for (const policy of policies) print(commandOf(policy))
  return EXIT.OK
}

export function policiesOf(
  { transport, notifications, bill }: Pick<Config, 'transport' | 'notifications' | 'bill'>,
  maxBytes: number,
): readonly BrokerPolicy[] {
  const { vhost } = parseTransportUrl(transport.url)
  const bounds = (name: string, pattern: string): BrokerPolicy => ({
    vhost,
    name,
    pattern,
    definition: { 'max-length-bytes': maxBytes, overflow: 'reject-publish' },
    'apply-to': 'queues',
    priority: 10,
  })
  return [
    bounds('sevbus-notifications', `^${quoted(notifications.topic)}\\.[a-z]+$`),
    bounds('sevbus-bill', `^${quoted(bill.pool)}$`),
  ]
}

function commandOf({ vhost, name, pattern, definition, priority, ...rest }: BrokerPolicy): string {
  const applyTo = `--apply-to ${rest['apply-to']} --priority ${priority}`
  return `rabbitmqctl set_policy -p ${shell(vhost)} ${applyTo} ${name} ${shell(pattern)} ${shell(JSON.stringify(definition))}`
}

function quoted(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function shell(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function maxBytesOf({ maxBytes }: PolicyOptions): number {
  const bytes = maxBytes === undefined ? DEFAULT_MAX_BYTES : Number(maxBytes)
  if (Number.isSafeInteger(bytes) && bytes >= MIB) return bytes
  const fix = `give at least ${MIB}, in bytes`
  throw new InvalidArguments(`--max-bytes ${maxBytes} is no bound for a queue; ${fix}`, {
    field: '--max-bytes',
    value: maxBytes,
    fix,
  })
}
