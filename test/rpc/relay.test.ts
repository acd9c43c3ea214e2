import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import type { MessageStore, StoredMessage } from '../../src/rpc/durable-message.ts'
import { Relay } from '../../src/rpc/relay.ts'
import { silent } from '../support/transports.ts'

const to = { kind: 'topic', exchange: 'x', topic: 'facts' } as const
const source = { kind: 'server', exchange: 'x', topic: 'facts', server: 's' } as const

/** Messages in memory; a postponed one comes back at the next look. */
class Shelf implements MessageStore {
  readonly messages: StoredMessage[] = []
  readonly postponed: string[] = []
  failures = 0

  put(...bodies: string[]): void {
    for (const body of bodies) this.messages.push({ id: body, to, body, mandatory: true, orderingKey: body })
  }

  async take(limit: number): Promise<readonly StoredMessage[]> {
    if (this.failures-- > 0) throw new Error('the database is away')
    return this.messages.slice(0, limit)
  }

  async sent(ids: readonly string[]): Promise<void> {
    for (const id of ids)
      this.messages.splice(
        this.messages.findIndex((message) => message.id === id),
        1,
      )
  }

  async postpone(id: string): Promise<void> {
    this.postponed.push(id)
  }
}

describe('the relay of stored messages', () => {
  async function openRelay(pollIntervalMs: number) {
    const transport = new MemoryBus().connect()
    const store = new Shelf()
    const relay = new Relay({ store, transport, logger: silent, pollIntervalMs })
    onTestFinished(() => relay.close())
    const received: string[] = []
    const listen = () =>
      transport.listen(
        source,
        (delivery) => {
          received.push(delivery.body.toString())
          delivery.ack()
        },
        { prefetch: 10 },
      )
    return { transport, store, relay, received, listen }
  }

  it('sends what is announced, and forgets it', async () => {
    const { store, relay, received, listen } = await openRelay(60_000)
    await listen()
    relay.start()

    store.put('1', '2')
    relay.announce()

    await vi.waitFor(() => expect(received).toEqual(['1', '2']))
    await vi.waitFor(() => expect(store.messages).toEqual([]))
  })

  it('finds by itself what nobody announced, and survives a store that fails', async () => {
    const { store, relay, received, listen } = await openRelay(5)
    await listen()
    store.failures = 3
    store.put('1')

    relay.start()

    await vi.waitFor(() => expect(received).toEqual(['1']))
  })

  it('keeps and postpones what cannot be delivered, until it can', async () => {
    const { store, relay, received, listen } = await openRelay(5)
    store.put('1')
    relay.start()
    await vi.waitFor(() => expect(store.postponed).toContain('1'))
    expect(store.messages).toHaveLength(1)

    await listen()

    await vi.waitFor(() => expect(received).toEqual(['1']))
    await vi.waitFor(() => expect(store.messages).toEqual([]))
  })

  it('sends the others while one is not confirmed, and others behind many that cannot be delivered', async () => {
    const { store, relay, received, listen, transport } = await openRelay(5)
    await listen()
    const publish = transport.publish.bind(transport)
    transport.publish = (destination, message, signal) =>
      message.body === 'stuck' ? unconfirmed(signal) : publish(destination, message, signal)
    const nowhere = { kind: 'topic', exchange: 'x', topic: 'nobody' } as const
    store.put('stuck')
    for (let n = 0; n < 63; n++)
      store.messages.push({ id: `u${n}`, to: nowhere, body: 'u', mandatory: true, orderingKey: 'u' })
    relay.start()
    store.put('late')
    store.messages.unshift(...store.messages.splice(-1))

    await vi.waitFor(() => expect(received).toEqual(['late']))
  })

  it('leaves what is not sent when it is closed', async () => {
    const { store, relay } = await openRelay(5)
    relay.start()
    await relay.close()
    await relay.close()

    store.put('1')
    relay.announce()

    expect(store.messages).toHaveLength(1)
  })
})

function unconfirmed(signal: AbortSignal | undefined): Promise<void> {
  return new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason)))
}
