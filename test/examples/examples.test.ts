import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { newRequestContext } from '../../src/client.ts'
import { anImage, sevFlavor } from '../support/requests.ts'
import { ProcessCloud } from '../support/worker-processes.ts'

const context = newRequestContext()
const SETTLE = { timeout: 30_000, interval: 200 }

/** Runs an example as its first lines say. */
function run(example: string, env: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, ['--import', 'tsx', `examples/${example}`], {
    env: { PATH: process.env.PATH, ...env },
  })
  const output = { text: '' }
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output.text += chunk))
  return { child, output, exited: once(child, 'close').then(([code]) => code as number) }
}

describe('examples', () => {
  it('boot an encrypted instance, and charge for it by what it really got', async () => {
    await using cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1'),
      cloud.compute('h1', { SEVBUS_FAKE_SEV_SLOTS: '2' }),
    ])
    await cloud.client({ hosts: 1 })

    const billing = run('02-billing.ts', cloud.env)
    await vi.waitFor(() => expect(billing.output.text).toContain('reading notifications'), SETTLE)
    const boot = run('01-boot.ts', cloud.env)

    expect(await boot.exited).toBe(0)
    expect(boot.output.text).toBe('example is active on h1\nencryption: amd-sev\n')
    await vi.waitFor(() => expect(billing.output.text).toContain('"verb":"charge"'), SETTLE)
    const charge = JSON.parse(billing.output.text.split('\n').find((line) => line.includes('"verb"')) as string)
    expect(charge).toMatchObject({
      verb: 'charge',
      tenant_id: 'blue',
      flavor: 'm1.sev',
      extra_specs: { 'hw:mem_encryption': 'true' },
      encryption: 'amd-sev',
    })
    billing.child.kill('SIGTERM')
    expect(await billing.exited).toBe(0)
  })

  it('bring a filter of their own into the scheduler, and its reason into the answer', async () => {
    await using cloud = await ProcessCloud.open()
    await Promise.all([
      cloud.worker('conductor', 'c1'),
      cloud.worker('scheduler', 's1', { SEVBUS_SCHEDULER_EXTRA_FILTERS: resolve('examples/03-filter.js') }),
      cloud.compute('scratch-1', { SEVBUS_FAKE_SEV_SLOTS: '2' }),
    ])
    const client = await cloud.client({ hosts: 1 })

    const request = { name: 'one', flavor: sevFlavor, image: anImage() }
    const { instances } = await client.conductor.buildInstances(context, request)
    const explained = await vi.waitFor(async () => {
      const answer = await client.conductor.explainInstance(context, { instance_uuid: instances[0]?.uuid as string })
      expect(answer.instance.vm_state).toBe('error')
      return answer
    }, SETTLE)

    expect(explained.attempts[0]?.report?.rejections).toEqual([
      {
        host: 'scratch-1',
        filter: 'NoEncryptedGuestsOnScratchHosts',
        reason: 'scratch-1 is for scratch guests, this one is encrypted',
      },
    ])
  })
})
