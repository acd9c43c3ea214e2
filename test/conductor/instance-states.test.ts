import { describe, expect, it } from 'vitest'
import type { InstanceState } from '../../src/objects/instance.ts'
import { databaseEngines } from '../support/databases.ts'
import { anImage, plainFlavor } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

describe.each(databaseEngines)('states of instances on $name', (engine) => {
  it('tell in short where each instance is, by what it runs encrypted, and when that changed', async () => {
    const now = new Date('2026-03-01T10:00:00.000Z')
    await using conductor = await aConductor(engine, async () => aSelection('h1'), { now: () => now })
    const { uuid } = await conductor.accept()
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)

    const { instances } = await conductor.endpoint.listInstanceStates({ limit: 10 }, conductor.request)

    expect(instances).toEqual([
      {
        uuid,
        name: 'web',
        vm_state: 'building',
        task_state: 'spawning',
        host: 'h1',
        attempt: 1,
        model: 'amd-sev',
        updated_at: now.toISOString(),
        leaving: null,
        messages_waiting: true,
        last_action: 0,
        hosts_waiting: ['h1'],
      },
    ])
  })

  it('tell what has not been said yet about an instance, to whom it concerns, and not its notifications', async () => {
    await using conductor = await aConductor(engine, async () => aSelection('h1'))
    const { uuid } = await conductor.accept()
    const waiting = async () => {
      const { instances } = await conductor.endpoint.listInstanceStates({ uuids: [uuid], limit: 1 }, conductor.request)
      return (instances as InstanceState[]).map(({ messages_waiting, hosts_waiting }) => [
        messages_waiting,
        hosts_waiting,
      ])
    }

    await conductor.sent()
    expect(await waiting()).toEqual([[false, []]])
    await conductor.endpoint.continueBuild({ instance_uuid: uuid, attempt: 1 }, conductor.request)
    expect(await waiting()).toEqual([[false, ['h1']]])
    await conductor.sent()
    const outcome = { result: 'active' as const, launched_at: '2026-01-01T00:00:00.000Z' }
    await conductor.endpoint.reportBuild({ instance_uuid: uuid, host: 'h1', attempt: 1, outcome }, conductor.request)
    expect(await waiting()).toEqual([[false, []]])
    expect((await conductor.sent()).map(({ what }) => what)).toEqual(['instance.create.end', 'note_build'])
    const terminated = { instance_uuid: uuid, host: 'h1', attempt: 1, terminated_at: '2026-01-01T00:00:00.000Z' }
    await conductor.endpoint.reportTerminated(terminated, conductor.request)
    expect(await waiting()).toEqual([[true, []]])
  })

  it('come in pages, of one host or by uuid, and only those by uuid with the deleted ones', async () => {
    await using conductor = await aConductor(engine, async (spec) => aSelection('h1', spec.attempt))
    const args = { name: 'web', flavor: plainFlavor, image: anImage({}), count: 3, ip_addresses: [] }
    const { instances } = await conductor.endpoint.buildInstances(args, conductor.request)
    const [first, second, third] = instances.map(({ uuid }) => uuid) as [string, string, string]
    await conductor.endpoint.deleteInstance({ instance_uuid: second }, conductor.request)
    await conductor.endpoint.continueBuild({ instance_uuid: third, attempt: 1 }, conductor.request)
    const list = async (query: object) => {
      const answer = await conductor.endpoint.listInstanceStates({ limit: 2000, ...query }, conductor.request)
      return (answer.instances as InstanceState[]).map(({ uuid, vm_state, model }) => [uuid, vm_state, model])
    }

    expect(await list({})).toEqual([
      [first, 'building', null],
      [third, 'building', null],
    ])
    expect(await list({ limit: 1 })).toEqual([[first, 'building', null]])
    expect(await list({ limit: 1, marker: first })).toEqual([[third, 'building', null]])
    expect(await list({ marker: third })).toEqual([])
    expect(await list({ host: 'h1' })).toEqual([[third, 'building', null]])
    expect(await list({ uuids: [second, '99999999-9999-4999-8999-999999999999'] })).toEqual([[second, 'deleted', null]])
  })
})
