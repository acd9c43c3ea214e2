import { inject } from 'vitest'
import { type InstalledRabbitMq, runRabbitmqctl, startInstalledRabbitMq } from '../../src/servers/installed-rabbitmq.ts'

/** A broker that tests may tell what to do. */
export type ToldBroker = Pick<InstalledRabbitMq, 'url' | 'control' | 'close'>

/**
 * The run's own where it can be told, so that no other has to be started: tell it of users and vhosts of your own only, for all
 * tests use it. Else one for this file.
 * @returns undefined where none can be had
 */
export async function ownBroker(): Promise<ToldBroker | undefined> {
  const rabbitmqctl = inject('rabbitmqctl')
  if (rabbitmqctl === undefined) return startInstalledRabbitMq()
  return {
    url: inject('amqpUrl'),
    control: (...args) => runRabbitmqctl(rabbitmqctl, args),
    close: async () => undefined,
  }
}
