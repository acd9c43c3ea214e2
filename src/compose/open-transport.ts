import type { Logger } from 'pino'
import type { Config } from '../config.ts'
import { brokerOptions } from '../config-transport.ts'
import { RabbitTransport } from '../rpc/drivers/rabbit.ts'

/** A connection of its own to the configured broker, not connected yet. @param who its name in the broker's lists */
export function openTransport(
  { transport }: Pick<Config, 'transport'>,
  logger: Logger,
  who: string,
  onWaiting?: (reason: string) => void,
): RabbitTransport {
  return new RabbitTransport({
    ...brokerOptions(transport),
    connectionName: who,
    logger,
    ...(onWaiting && { onWaiting }),
  })
}
