import { pino } from 'pino'
import { ConductorApi } from './conductor/rpc-api.ts'
import { conductorReplay } from './conductor-replay.ts'
import { NotificationConsumer } from './notifications/consumer.ts'
import type {
  NotificationConsumerOptions,
  NotificationHandling,
  NotificationSelection,
} from './notifications/consumer-options.ts'
import { FilePositions } from './notifications/file-positions.ts'
import { InSequence } from './notifications/in-sequence.ts'
import { DEFAULT_NOTIFICATION_NAMES } from './notifications/notification.ts'
import type { Positions } from './notifications/positions.ts'
import type { CountedBack, Gap } from './notifications/replay.ts'
import { sequenced } from './notifications/sequenced.ts'
import { RpcClient } from './rpc/client.ts'
import { connectBefore } from './rpc/connect-before.ts'
import type { BrokerOptions } from './rpc/drivers/broker-settings.ts'
import { RabbitTransport } from './rpc/drivers/rabbit.ts'
import { type BusNames, DEFAULT_BUS_NAMES } from './rpc/names.ts'

export {
  AnyNotification,
  NOTIFICATION_PRIORITIES,
  Notification,
  type NotificationPriority,
  type SevbusExtension,
} from './notifications/notification.ts'
export { AggregatePayload, LibvirtErrorPayload, ServiceStatusPayload } from './notifications/operating-payloads.ts'
export {
  ExceptionPayload,
  FlavorPayload,
  InstanceActionPayload,
  InstanceActionRebuildPayload,
  InstanceCreatePayload,
  InstanceExistsPayload,
  InstanceUpdatePayload,
  SlotPayload,
} from './notifications/payloads.ts'
export type { Position, Positions } from './notifications/positions.ts'
export type { CountedBack, Gap } from './notifications/replay.ts'
export { ComputeTaskPayload, RequestSpecPayload, ServerGroupPayload } from './notifications/request-payloads.ts'

/** Where the broker is, TLS, and what is declared there: as the workers are configured in [transport]. */
export type ConsumeOptions = BrokerOptions &
  NotificationHandling &
  NotificationSelection & {
    /** As the workers are configured: notifications.exchange and notifications.topic. */
    readonly exchange?: string
    readonly topic?: string
    /** Stops waiting for the broker; without it, that is after 30 s. */
    readonly signal?: AbortSignal
    /**
     * Each instance's notifications in their order, none left out, over restarts, too, and none twice while it runs: what is
     * missing is asked for (`replay_events` of the conductor). After a restart some may come again, late ones out of their
     * order, with the message_id that they had. For one consumer of a pool, or of a topic, at a time.
     *
     * With `maxTries`, one whose handling fails so often is parked alone, also if it came as one that was missing; those after it
     * go on. Sent again from the dead letters, it comes late. So that the bad one is known, `onBatch` is given what is alone in
     * its batch singly, and each of what is missing before it. A number below 1 or above 2147483647, or of something that is no
     * instance's uuid, is parked at once.
     */
    readonly inSequence?: SequenceOptions
  }

export interface SequenceOptions {
  /** How far it is with each instance: a file's path, or a store of your own. */
  readonly positions: string | Positions
  /** These are kept no more, and cannot be had. Told before what comes after them, and again if it rejects. */
  readonly onLost?: (gap: Gap) => Promise<void>
  /**
   * The conductors have counted less far than what came: somebody restored their database, or the number is not theirs.
   * Nothing is dropped: what is kept of this instance is handed on again. Told before, and again if it rejects.
   */
  readonly onCountedBack?: (told: CountedBack) => Promise<void>
  /** As the workers are configured: transport.exchange and transport.topic_prefix. */
  readonly busNames?: BusNames
}

export interface Consumption extends AsyncDisposable {
  /** Finishes the one being handled and stops. */
  close(): Promise<void>
}

/**
 * Reads notifications until closed; reconnects by itself. Versioned ones, ours and Nova's, unless `payload` is `any`.
 *
 * @throws TransportUnavailable when the broker was not there in time, the signal's reason when it is no timeout,
 *   TopologyMismatch, InvalidConfiguration
 * @example
 * await using billing = await consumeNotifications({ url, pool: 'billing', onNotification: async ({ payload }) => { … } })
 */
export async function consumeNotifications(options: ConsumeOptions): Promise<Consumption> {
  const { signal = AbortSignal.timeout(30_000) } = options
  const { exchange = DEFAULT_NOTIFICATION_NAMES.exchange, topic = DEFAULT_NOTIFICATION_NAMES.topic } = options
  const logger = pino({ level: 'silent' })
  let reason: string | undefined
  const onWaiting = (why: string) => {
    reason = why
  }
  const connectionName = 'sevbus notification consumer'
  const transport = new RabbitTransport({ ...options, logger, connectionName, onWaiting })
  const { inSequence } = options
  const busNames = inSequence?.busNames ?? DEFAULT_BUS_NAMES
  const client = new RpcClient({ transport, logger, names: busNames })
  const positions = inSequence && (await openPositions(inSequence.positions))
  const replay = conductorReplay(client.of(ConductorApi))
  const handling = positions && sequenced(options, new InSequence({ ...inSequence, positions, replay }))
  const place = { transport, logger, names: { exchange, topic }, busNames }
  // The types of the options tie handler and payload together, as those of what is in sequence do.
  const consumer = new NotificationConsumer({ ...options, ...handling, ...place } as NotificationConsumerOptions)
  const close = async () => {
    await consumer.close()
    await client.close()
    await transport.close()
    if (positions instanceof FilePositions) await positions[Symbol.asyncDispose]()
  }
  try {
    const fix = 'check the url given to consumeNotifications()'
    await connectBefore(transport, { signal, reason: () => reason, fix })
    await consumer.start()
  } catch (error) {
    await close()
    throw error
  }
  return { close, [Symbol.asyncDispose]: close }
}

async function openPositions(positions: string | Positions): Promise<Positions> {
  return typeof positions === 'string' ? FilePositions.open(positions) : positions
}
