import type { Database } from '../../src/database/database.ts'
import { DatabaseOutbox } from '../../src/database/outbox.ts'
import { notificationMessage } from '../../src/notifications/notification.ts'
import type { RpcClient } from '../../src/rpc/client.ts'
import type { DurableMessage } from '../../src/rpc/durable-message.ts'
import { Relay } from '../../src/rpc/relay.ts'
import { newRequestContext } from '../../src/rpc/request-context.ts'
import type { Transport } from '../../src/rpc/transport.ts'
import type { StoredFact } from './auditor.ts'
import { OrderApi } from './contract.ts'
import type { Means } from './member.ts'
import { insertFacts } from './tables.ts'

const POLL_MS = 500
const CLOSE_MS = 5_000
/** Orders and notifications in one transaction, each. */
const TOGETHER = 5

/** Orders and notifications as conductors send them: stored with what they tell, carried by a relay. */
export class StoredMessages {
  readonly #means: Means
  readonly #database: Database
  readonly #client: RpcClient
  readonly #newId: () => string
  readonly #outbox: DatabaseOutbox
  readonly #relay: Relay

  constructor(means: Means, database: Database, client: RpcClient, transport: Transport, newId: () => string) {
    this.#means = means
    this.#database = database
    this.#client = client
    this.#newId = newId
    this.#outbox = new DatabaseOutbox(database, { owner: 'soak' })
    const { logger } = means
    this.#relay = new Relay({ store: this.#outbox, transport, logger, pollIntervalMs: POLL_MS })
    this.#relay.start()
  }

  /** @param padding of each order */
  async store(padding: string): Promise<void> {
    const made = Array.from({ length: TOGETHER }, () => [this.#order(padding), this.#notification()]).flat()
    await this.#database.transaction(async (tx) => {
      await insertFacts(
        tx,
        made.map(({ fact }) => fact),
      )
      await this.#outbox.enqueue(
        tx,
        made.map(({ message }) => message),
      )
    })
    this.#means.ledger.write({ type: 'stored', ids: made.map(({ fact }) => fact.id) })
    this.#relay.announce()
  }

  close(): Promise<void> {
    return this.#relay.close(CLOSE_MS)
  }

  #order(padding: string): { readonly fact: StoredFact; readonly message: DurableMessage } {
    const id = this.#newId()
    const message = this.#client.message(
      OrderApi,
      'carryOut',
      newRequestContext(),
      { id, padding },
      { orderingKey: id },
    )
    return { fact: { id, kind: 'order', messageId: null }, message }
  }

  #notification(): { readonly fact: StoredFact; readonly message: DurableMessage } {
    const id = this.#newId()
    const message = notificationMessage(this.#means.settings.notifications, {
      event_type: 'soak.order',
      priority: 'INFO',
      publisher_id: this.#means.settings.name,
      context: newRequestContext(),
      payload: { id },
      orderingKey: id,
      at: new Date(),
    })
    return { fact: { id, kind: 'notification', messageId: messageIdIn(message.body) }, message }
  }
}

function messageIdIn(body: string): string {
  const envelope = JSON.parse(body) as { 'oslo.message': string }
  return (JSON.parse(envelope['oslo.message']) as { message_id: string }).message_id
}
