import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { decodeEnvelope } from '../../dist/rpc/envelope.js'
import { newRequestContext, type SevbusClient } from '../../src/client.ts'
import { Limiter } from '../../src/rpc/limiter.ts'
import { anImage, sevFlavor } from '../../test/support/requests.ts'
import { waitFor } from '../../test/support/wait-for.ts'
import type { BenchCloud } from './bench-cloud.ts'

/** Boots at a time before the clock, and then removed. */
const WARM_UP_ROUND = 500
const REMOVED_AT_A_TIME = 16
const SETTLE = { timeoutMs: 120_000, intervalMs: 200 }
/** Of a simulated host that no number of boots fills. */
export const HUGE = {
  SEVBUS_FAKE_VCPUS: '100000',
  SEVBUS_FAKE_MEMORY_MB: String(2 ** 30),
  SEVBUS_FAKE_DISK_GB: String(2 ** 20),
  SEVBUS_FAKE_SEV_SLOTS: '100000',
  SEVBUS_COMPUTE_REPORT_INTERVAL_SECONDS: '10',
}
const context = newRequestContext({ project_id: 'p', user_id: 'u' })

/** Hears from notifications, as billing does, when an instance is ACTIVE. */
export class BootListener {
  readonly #ended = new Map<string, () => void>()
  readonly #close: () => Promise<void>

  private constructor(close: () => Promise<void>) {
    this.#close = close
  }

  static async open({ cloud, broker }: BenchCloud): Promise<BootListener> {
    const connection = await connect(broker.url)
    const channel = await connection.createChannel()
    const listener = new BootListener(() => connection.close())
    await channel.consume(
      `${cloud.env.SEVBUS_NOTIFICATIONS_TOPIC}.info`,
      (message) => {
        if (message) listener.#hear(message.content)
      },
      { noAck: true },
    )
    return listener
  }

  /** Ask before it is made. */
  booted(uuid: string): Promise<void> {
    return new Promise((resolve) => this.#ended.set(uuid, resolve))
  }

  #hear(content: Buffer): void {
    const { event_type, payload } = decodeEnvelope(content, 'application/json')
    if (event_type !== 'instance.create.end') return
    const { uuid } = (payload as { 'nova_object.data': { uuid: string } })['nova_object.data']
    this.#ended.get(uuid)?.()
    this.#ended.delete(uuid)
  }

  close(): Promise<void> {
    return this.#close()
  }
}

export async function bootAll(client: SevbusClient, listener: BootListener, boots: number, inFlight: number) {
  const limiter = new Limiter(inFlight)
  const uuids = Array.from({ length: boots }, () => randomUUID())
  const request = { name: 'vm', flavor: sevFlavor, image: anImage() }
  const boot = async (uuid: string) => {
    const booted = listener.booted(uuid)
    await client.conductor.buildInstances(context, { ...request, instance_uuids: [uuid] })
    await booted
  }
  await Promise.all(uuids.map((uuid) => limiter.run(() => boot(uuid))))
  return uuids
}

/** No part of what is measured. */
export async function removeAll({ cloud }: BenchCloud, { conductor }: SevbusClient, uuids: readonly string[]) {
  const limiter = new Limiter(REMOVED_AT_A_TIME)
  const remove = (instance_uuid: string) => conductor.deleteInstance(context, { instance_uuid })
  await Promise.all(uuids.map((uuid) => limiter.run(() => remove(uuid))))
  await waitFor(async () => {
    const left = await cloud.count("instances where task_state = 'deleting'")
    if (left > 0) throw new Error(`${left} are not deleted yet`)
  }, SETTLE)
}

/** Boots so many, and removes them: until compilers have come to rest, whose threads a worker that lives for days does not pay for. */
export async function warmUp(
  bench: BenchCloud,
  client: SevbusClient,
  listener: BootListener,
  { boots, inFlight }: { readonly boots: number; readonly inFlight: number },
): Promise<void> {
  for (let warm = 0; warm < boots; warm += WARM_UP_ROUND) {
    const some = Math.min(WARM_UP_ROUND, boots - warm)
    await removeAll(bench, client, await bootAll(client, listener, some, inFlight))
  }
}
