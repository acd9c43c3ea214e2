import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import type { MessageStore, StoredMessage } from '../../src/rpc/durable-message.ts'
import { Relay, type RelayOptions } from '../../src/rpc/relay.ts'
import { silent } from '../support/transports.ts'

const to = { kind: 'topic', exchange: 'x', topic: 'facts' } as const
const source = { kind: 'server', exchange: 'x', topic: 'facts', server: 's' } as const

const nowhere = { kind: 'topic', exchange: 'x', topic: 'nobody' } as const

/** Messages in memory, with the rules of a store: one of each key at a time, none that is taken or postponed. */
class Shelf implements MessageStore {
  messages: StoredMessage[] = []
  readonly postponed: { readonly id: string; readonly delayMs: number }[] = []
  /** What was forgotten together. */
  readonly groups: (readonly string[])[] = []
  /** What was said to be on its way still. */
  readonly renewals: (readonly string[])[] = []
  readonly lease = { ms: 4_000, renew: async (ids: readonly string[]) => void this.renewals.push(ids) }
  readonly #dueAt = new Map<string, number>()
  failures = 0

  put(...bodies: string[]): void {
    for (const body of bodies) this.add({ id: body })
  }

  add(message: Partial<StoredMessage> & { readonly id: string }): void {
    this.messages.push({ to, body: message.id, mandatory: true, orderingKey: message.id, failures: 0, ...message })
  }

  async take(limit: number): Promise<readonly StoredMessage[]> {
    if (this.failures-- > 0) throw new Error('the database is away')
    const keys = new Set<string>()
    const isDue = ({ id, orderingKey }: StoredMessage) => {
      const isFirst = !keys.has(orderingKey)
      keys.add(orderingKey)
      return isFirst && (this.#dueAt.get(id) ?? 0) <= performance.now()
    }
    const taken = this.messages.filter(isDue).slice(0, limit)
    for (const { id } of taken) this.#dueAt.set(id, Number.POSITIVE_INFINITY)
    return taken
  }

  async sent(ids: readonly string[]): Promise<boolean> {
    this.groups.push(ids)
    this.messages = this.messages.filter(({ id }) => !ids.includes(id))
    return this.messages.length > 0
  }

  async postpone(id: string, delayMs: number): Promise<void> {
    this.postponed.push({ id, delayMs })
    this.messages = this.messages.map((each) => (each.id === id ? { ...each, failures: each.failures + 1 } : each))
    this.#dueAt.set(id, performance.now() + delayMs)
  }
}

describe('the relay of stored messages', () => {
  async function openRelay(pollIntervalMs: number, doAtHand?: RelayOptions['doAtHand']) {
    const transport = new MemoryBus().connect()
    const store = new Shelf()
    const relay = new Relay({ store, transport, logger: silent, pollIntervalMs, ...(doAtHand && { doAtHand }) })
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
    const publish = transport.publish.bind(transport)
    const leaveUnconfirmed = (...bodies: string[]) => {
      transport.publish = (destination, message, patience) =>
        bodies.includes(String(message.body)) ? unconfirmed(patience?.signal) : publish(destination, message, patience)
    }
    return { store, relay, received, listen, leaveUnconfirmed }
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

  it('sends what is offered to it, without asking the store, and forgets it', async () => {
    const { store, relay, received, listen } = await openRelay(60_000)
    await listen()
    const messages = Array.from({ length: 100 }, (_, n) => ({ to, body: `${n}`, mandatory: true, failures: 0 }))

    // Not started: whatever it sends, nobody has asked the store for it.
    relay.offer(messages.map((message) => ({ ...message, id: message.body, orderingKey: message.body })))

    await vi.waitFor(() => expect(received.toSorted()).toEqual(messages.map(({ body }) => body).toSorted()))
    await vi.waitFor(() => expect(store.groups.flat().toSorted()).toEqual(received.toSorted()))
  })

  it('sends those of one key that are offered together in their order, without asking the store, each after the confirm of the one before', async () => {
    const { store, relay, received, listen, leaveUnconfirmed } = await openRelay(60_000)
    await listen()
    leaveUnconfirmed('b1')
    const bodies = ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']

    relay.offer(
      bodies.map((body) => ({ to, body, mandatory: true, failures: 0, id: body, orderingKey: body.slice(0, 1) })),
    )

    await vi.waitFor(() => expect(store.groups.flat().toSorted()).toEqual(['a1', 'a2', 'a3', 'c1']))
    expect(received.filter((body) => body.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
    expect(received).not.toContain('b2')
  })

  it('postpones what stands behind one that cannot be delivered with it', async () => {
    const { store, relay, received, listen } = await openRelay(60_000)
    await listen()
    const offered = [{ to: nowhere, body: '1' }, ...['2', '3'].map((body) => ({ to, body }))]

    relay.offer(offered.map((each) => ({ ...each, mandatory: true, failures: 0, id: each.body, orderingKey: 'a' })))

    await vi.waitFor(() => expect(store.postponed).toEqual(['1', '2', '3'].map((id) => ({ id, delayMs: 250 }))))
    expect(received).toEqual([])
  })

  it('forgets what was done at hand instead of sending it, and sends what is not for this process or could not be done', async () => {
    const done: string[] = []
    const { store, relay, received, listen } = await openRelay(60_000, ({ body }) => {
      if (body === 'elsewhere') return undefined
      if (body === 'fails') return Promise.reject(new Error('no'))
      return Promise.resolve().then(() => void done.push(body))
    })
    await listen()
    const bodies = ['here', 'elsewhere', 'fails']

    relay.offer(bodies.map((body) => ({ to, body, mandatory: true, failures: 0, id: body, orderingKey: body })))

    await vi.waitFor(() => expect(store.groups.flat().toSorted()).toEqual(bodies.toSorted()))
    expect([done, received.toSorted()]).toEqual([['here'], ['elsewhere', 'fails']])
  })

  it('waits for what is done at hand when it is closed', async () => {
    let finish: () => void = () => {}
    const { store, relay } = await openRelay(60_000, () => new Promise((resolve) => (finish = resolve)))
    relay.start()
    relay.offer([{ to, body: '1', mandatory: true, failures: 0, id: '1', orderingKey: '1' }])

    const closed = relay.close(60_000)
    finish()
    await closed

    expect(store.groups).toEqual([['1']])
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
    await vi.waitFor(() => expect(store.postponed).toContainEqual({ id: '1', delayMs: 250 }))
    expect(store.messages).toHaveLength(1)

    await listen()

    await vi.waitFor(() => expect(received).toEqual(['1']), { timeout: 5_000 })
    await vi.waitFor(() => expect(store.messages).toEqual([]))
  })

  it('tries later and later, by the failures that the store has counted', async () => {
    const { store, relay } = await openRelay(60_000)
    for (const failures of [0, 1, 5, 1000]) store.add({ id: `failed ${failures}`, to: nowhere, failures })

    relay.start()

    await vi.waitFor(() =>
      expect(store.postponed).toEqual([
        { id: 'failed 0', delayMs: 250 },
        { id: 'failed 1', delayMs: 500 },
        { id: 'failed 5', delayMs: 10_000 },
        { id: 'failed 1000', delayMs: 10_000 },
      ]),
    )
  })

  it('sends the others while one is not confirmed, and the next of a key as soon as the one before is', async () => {
    const { store, relay, received, listen, leaveUnconfirmed } = await openRelay(60_000)
    await listen()
    leaveUnconfirmed('stuck')
    store.put('stuck')
    for (const id of ['a1', 'a2', 'a3']) store.add({ id, orderingKey: 'a' })
    relay.start()
    await vi.waitFor(() => expect(received).toEqual(['a1', 'a2', 'a3']))

    store.put('late')
    relay.announce()

    await vi.waitFor(() => expect(received).toEqual(['a1', 'a2', 'a3', 'late']))
    expect(store.messages.map(({ id }) => id)).toEqual(['stuck'])
  })

  it('comes at once to what stands behind any number that cannot be delivered', async () => {
    const { store, relay, received, listen } = await openRelay(60_000)
    await listen()
    for (let n = 0; n < 200; n++) store.add({ id: `undeliverable ${n}`, to: nowhere })
    store.put('deliverable')

    relay.start()

    await vi.waitFor(() => expect(received).toEqual(['deliverable']))
  })

  it('forgets together what is confirmed together', async () => {
    const { store, relay, listen } = await openRelay(60_000)
    await listen()
    store.put(...Array.from({ length: 128 }, (_, n) => String(n)))

    relay.start()

    await vi.waitFor(() => expect(store.messages).toEqual([]))
    expect(store.groups.length).toBeLessThanOrEqual(8)
  })

  it('takes its time with each message by itself', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    onTestFinished(() => void vi.useRealTimers())
    const { store, relay, leaveUnconfirmed } = await openRelay(60_000)
    leaveUnconfirmed('1', '2')
    store.put('1')
    relay.start()
    await vi.advanceTimersByTimeAsync(4_000)
    store.put('2')
    relay.announce()

    await vi.advanceTimersByTimeAsync(6_000)
    expect(store.postponed).toEqual([{ id: '1', delayMs: 250 }])

    await vi.advanceTimersByTimeAsync(4_000)
    expect(store.postponed).toContainEqual({ id: '2', delayMs: 250 })
  })

  it('keeps what is on its way for long for itself, four times in a lease, and no longer than that', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { store, relay, received, listen, leaveUnconfirmed } = await openRelay(60_000)
    await listen()
    leaveUnconfirmed('slow')
    store.put('quick', 'slow')
    relay.start()
    await vi.advanceTimersByTimeAsync(4_000)

    expect(received).toEqual(['quick'])
    expect(store.renewals).toEqual(Array(4).fill(['slow']))

    await vi.advanceTimersByTimeAsync(20_000)
    expect(store.postponed).toEqual([{ id: 'slow', delayMs: 250 }])
    expect(store.renewals.length).toBeLessThanOrEqual(10)
    const closed = relay.close()
    await vi.advanceTimersByTimeAsync(0)
    await closed
    expect(vi.getTimerCount()).toBe(0)
  })

  it('goes on when the store cannot be told that it is still at it', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'performance'] })
    onTestFinished(() => void vi.useRealTimers())
    const { store, relay, leaveUnconfirmed } = await openRelay(60_000)
    const renew = vi.spyOn(store.lease, 'renew').mockRejectedValue(new Error('the database is away'))
    leaveUnconfirmed('slow')
    store.put('slow')
    relay.start()

    await vi.advanceTimersByTimeAsync(10_000)

    expect(renew.mock.calls.length).toBeGreaterThan(1)
    expect(store.postponed).toEqual([{ id: 'slow', delayMs: 250 }])
  })

  it('sends what can be sent when it is closed: what others wait behind, and what stands behind others', async () => {
    const { store, relay, received, listen, leaveUnconfirmed } = await openRelay(60_000)
    await listen()
    leaveUnconfirmed('stuck')
    store.put('stuck')
    for (let n = 0; n < 100; n++) store.add({ id: `undeliverable ${n}`, to: nowhere })
    for (const id of ['a1', 'a2', 'a3']) store.add({ id, orderingKey: 'a' })
    relay.start()

    await relay.close(500)

    expect(received).toEqual(['a1', 'a2', 'a3'])
    expect(store.messages.map(({ id }) => id)).toContain('stuck')
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
