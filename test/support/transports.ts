import { randomBytes } from 'node:crypto'
import { MemoryBus } from '../../src/rpc/drivers/memory.ts'
import type { BusNames } from '../../src/rpc/names.ts'
import type { Transport } from '../../src/rpc/transport.ts'

/** A broker for one test, with names of the test's own; whatever it made there is gone afterwards. */
export interface TestBus extends AsyncDisposable {
  readonly names: BusNames
  /** One more process on the bus. */
  connect(): Promise<Transport>
}

export interface TransportUnderTest {
  readonly name: string
  open(): Promise<TestBus>
}

export const transports: readonly TransportUnderTest[] = [{ name: 'memory', open: openMemory }]

/** No two tests share a queue, whatever broker they run on. */
export function freshNames(): BusNames {
  const prefix = `t${randomBytes(6).toString('hex')}`
  return { exchange: prefix, topicPrefix: `${prefix}-` }
}

async function openMemory(): Promise<TestBus> {
  const bus = new MemoryBus()
  const connections: Transport[] = []
  return {
    names: freshNames(),
    connect: async () => {
      const transport = bus.connect()
      connections.push(transport)
      return transport
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(connections.map((transport) => transport.close()))
    },
  }
}
