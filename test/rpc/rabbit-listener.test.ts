import type { ChannelModel } from 'amqplib'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import type { RabbitConnection } from '../../src/rpc/drivers/rabbit-connection.ts'
import { RabbitListener } from '../../src/rpc/drivers/rabbit-listener.ts'
import { silent } from '../support/transports.ts'

const MINUTE_MS = 60_000

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

/** Connections on which no question is ever answered, though they live. */
function hanging() {
  const made: number[] = []
  let current: ChannelModel | undefined
  const connection = {
    ready: async () => {
      if (current === undefined) {
        made.push(Math.round(performance.now() / MINUTE_MS))
        current = { createChannel: () => new Promise(() => {}) } as unknown as ChannelModel
      }
      return current
    },
    reconnect: async (_reason: string, meant: ChannelModel) => {
      if (meant === current) current = undefined
    },
  } as unknown as RabbitConnection
  const listen = (queue: string) => {
    const topology = { kind: 'quorum' } as never
    const options = { source: { kind: 'queue', queue }, prefetch: 1, topology, logger: silent } as const
    const listener = new RabbitListener({ connection, handler: () => {}, ...options })
    const started = listener.start()
    started.catch(() => {})
    return listener
  }
  return { made, listen }
}

it.each([1, 3])(
  '%i listeners whose queues hang for good leave the connection of the others alone ever longer',
  async (count) => {
    const { made, listen } = hanging()
    const before = performance.now()
    const listeners = Array.from({ length: count }, (_, n) => listen(`q${n}`))

    await vi.advanceTimersByTimeAsync(8 * 60 * MINUTE_MS)

    const minutes = made.map((at) => at - Math.round(before / MINUTE_MS))
    const gaps = minutes.slice(1).map((at, n) => at - (minutes[n] as number))
    expect(minutes.length).toBeLessThan(21)
    expect(gaps.slice(0, 5)).toEqual(gaps.slice(0, 5).toSorted((a, b) => a - b))
    expect(gaps.at(-1)).toBeGreaterThan(30)
    const closed = Promise.all(listeners.map((listener) => listener.close()))
    await vi.advanceTimersByTimeAsync(MINUTE_MS)
    await closed
  },
)
