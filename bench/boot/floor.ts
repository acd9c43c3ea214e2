import { fork } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Limiter } from '../../src/rpc/limiter.ts'
import { Floor, type FloorSettings } from './floor-role.ts'

const ROLE = fileURLToPath(new URL('./floor-role.ts', import.meta.url))

/** What a boot costs whoever only carries its messages and commits its steps, by amqplib and pg alone, in as many processes. */
export async function openFloor(settings: FloorSettings) {
  const start = async (role: 'conductor' | 'scheduler' | 'compute') => {
    const child = fork(ROLE, { execArgv: ['--import', 'tsx'] })
    child.send({ role, settings })
    await once(child, 'message')
    return child
  }
  const floor = await Floor.open(settings)
  const booted = new Map<string, () => void>()
  await floor.serve('floor.info', async (kind, id, _replyTo, ack) => {
    ack()
    if (kind === 'end') booted.get(id)?.()
  })
  const [scheduler, compute] = await Promise.all([start('scheduler'), start('compute')])
  const conductor = await start('conductor')
  return {
    pids: { conductor: conductor.pid ?? 0, scheduler: scheduler.pid ?? 0, compute: compute.pid ?? 0 },
    async bootAll(boots: number, inFlight: number): Promise<void> {
      const limiter = new Limiter(inFlight)
      const boot = async () => {
        const id = randomUUID()
        const ended = new Promise<void>((resolve) => booted.set(id, resolve))
        await floor.call('floor.conductor', 'build_instances', id)
        await ended
        booted.delete(id)
      }
      await Promise.all(Array.from({ length: boots }, () => limiter.run(boot)))
    },
    async close(): Promise<void> {
      await floor.close()
      for (const child of [conductor, scheduler, compute]) child.disconnect()
    },
  }
}
