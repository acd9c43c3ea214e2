import { expect, it, vi } from 'vitest'
import { newRequestContext } from '../../src/client.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import type { SevbusProcess } from '../support/sevbus-process.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const MONITORED = { SEVBUS_WORKER_MONITOR_PORT: '0' }
const SETTLE = { timeout: 30_000, interval: 200 }

function urlOf(worker: SevbusProcess): string {
  return /"monitor":"([^"]+)"/.exec(worker.output)?.[1] ?? ''
}

async function get(worker: SevbusProcess, path: string) {
  const response = await fetch(`${urlOf(worker)}${path}`)
  const text = await response.text()
  // What every series has says here nothing more.
  return { status: response.status, text: text.replaceAll(/,?worker_service="\w+",worker="\w+",?/g, '') }
}

it('each worker tells over HTTP that it lives, that it is ready, and what it has done', async () => {
  await using cloud = await ProcessCloud.open()
  const [conductor, scheduler, compute] = await Promise.all([
    cloud.worker('conductor', 'c1', MONITORED),
    cloud.worker('scheduler', 's1', MONITORED),
    cloud.compute('h1', { ...MONITORED, SEVBUS_FAKE_SEV_SLOTS: '2' }),
  ])
  const client = await cloud.client({ hosts: 1 })

  const context = newRequestContext({ project_id: 'p' })
  await client.conductor.buildInstances(context, { name: 'web', flavor: sevFlavor, image: anImage(), count: 1 })

  await vi.waitFor(async () => {
    const texts = await Promise.all([conductor, scheduler, compute].map(async (w) => (await get(w, '/metrics')).text))
    const has = (index: number, text: string) => expect(texts[index]).toContain(text)
    has(0, 'sevbus_rpc_server_duration_seconds_count{service="conductor",method="build_instances",outcome="ok"}')
    has(0, 'sevbus_rpc_client_duration_seconds_count{service="scheduler",method="select_destinations",outcome="ok"}')
    has(0, 'sevbus_rpc_server_duration_seconds_count{service="conductor",method="report_build",outcome="ok"}')
    has(1, 'sevbus_rpc_server_duration_seconds_count{service="scheduler",method="select_destinations",outcome="ok"}')
    has(2, 'sevbus_rpc_server_duration_seconds_count{service="compute",method="build_and_run_instance",outcome="ok"}')
    has(2, 'sevbus_outbox_messages{} 0')
  }, SETTLE)
  expect(await get(conductor, '/livez')).toEqual({ status: 200, text: '[+] worker\n' })
  const ready = '[+] broker\n[+] server\n[+] database\n'
  expect(await get(conductor, '/readyz')).toEqual({ status: 200, text: ready })
  expect(await get(scheduler, '/readyz')).toEqual({ status: 200, text: ready })
  expect(await get(compute, '/readyz')).toEqual({ status: 200, text: '[+] broker\n[+] server\n[+] host report\n' })
})

it('a worker that waits for its broker lives, and says why it is not ready', async () => {
  await using cloud = await ProcessCloud.open()
  const compute = cloud.start(['compute', '--host', 'h1'], {
    ...MONITORED,
    SEVBUS_COMPUTE_STATE_FOLDER: cloud.folder,
    SEVBUS_TRANSPORT_URL: 'amqp://guest:guest@127.0.0.1:9/',
  })
  await compute.said('/readyz')

  expect((await get(compute, '/livez')).status).toBe(200)
  expect(await get(compute, '/readyz')).toEqual({
    status: 503,
    text: '[-] broker: not connected (connecting)\n[-] server: it has not started yet\n',
  })
})

it('a worker that is monitored and cannot start ends all the same', async () => {
  await using cloud = await ProcessCloud.open()

  const scheduler = cloud.start(['scheduler'], { ...MONITORED, SEVBUS_DATABASE_URL: 'nonsense' })
  const elsewhere = cloud.start(['scheduler'], { ...MONITORED, SEVBUS_WORKER_MONITOR_HOST: '192.0.2.1' })

  expect(await Promise.all([scheduler.exited(), elsewhere.exited()])).toEqual([2, 2])
  expect(elsewhere.output).toContain('nothing can be served at 192.0.2.1:0')
})
