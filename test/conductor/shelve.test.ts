import { describe, expect, it } from 'vitest'
import { endFencedDeletions } from '../../src/conductor/fenced-deletions.ts'
import { reviveOverdue } from '../../src/conductor/watchdog.ts'
import { NoValidHost } from '../../src/errors.ts'
import type { ImageMeta } from '../../src/objects/image-meta.ts'
import type { MemEncryption } from '../../src/objects/mem-encryption.ts'
import type { RequestSpec, Selection } from '../../src/objects/request-spec.ts'
import { databaseEngines } from '../support/databases.ts'
import { aFlavor, anImage } from '../support/requests.ts'
import { aConductor, aSelection } from './conductor-harness.ts'

const LAUNCHED = '2026-01-01T00:00:00.000Z'
const FAULT = { code: 'SPAWN_FAILED', message: 'QEMU died', details: {}, created_at: LAUNCHED }
const withCode = (code: string) => expect.objectContaining({ code })
const info = (event: string) => `${event} → versioned_notifications.info`
/** SNP, else ES; hosts give ES. */
const FLAVOR = aFlavor({ 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': 'amd-sev-snp,amd-sev-es,amd-sev' })
const IMAGE = anImage({ hw_firmware_type: 'uefi', hw_machine_type: 'q35', hw_firmware_stateless: true })
const ES: MemEncryption = { model: 'amd-sev-es', policy: '0x0037', requested_by: 'flavor' }
const placed = (host: string, attempt: number, mem_encryption = ES): Selection => ({
  ...aSelection(host, attempt),
  allocations: [{ provider: `${host}_amd_sev_es`, resource_class: 'MEM_ENCRYPTION_CONTEXT', amount: 1 }],
  mem_encryption,
})

describe.each(databaseEngines)('shelving on $name', (engine) => {
  /** An instance that runs on h1; what is asked of the scheduler after that is kept. */
  async function running(changes: Parameters<typeof aConductor>[2] = {}) {
    const asked: RequestSpec[] = []
    const hosts = { free: ['h1', 'h2', 'h3'], given: ES }
    const cloud = await aConductor(
      engine,
      async (spec) => {
        asked.push(spec)
        const host = hosts.free.find((each) => !spec.ignore_hosts.includes(each))
        if (host === undefined) throw new NoValidHost('no valid host: MemEncryptionSlots rejected 3')
        return placed(host, spec.attempt, hosts.given)
      },
      changes,
    )
    const { endpoint, request, states } = cloud
    for (const host of ['h1', 'h2', 'h3']) states.set(host, 'up')
    const args = { name: 'web', flavor: FLAVOR, image: IMAGE, count: 1, ip_addresses: [] }
    const uuid = (await endpoint.buildInstances(args, request)).instances[0]?.uuid as string
    const ofInstance = { instance_uuid: uuid }
    const step = (attempt: number) => endpoint.continueBuild({ ...ofInstance, attempt }, request)
    const built = (host: string, attempt: number, outcome: object = { result: 'active', launched_at: LAUNCHED }) =>
      endpoint.reportBuild({ ...ofInstance, host, attempt, outcome } as never, request)
    const acted = (outcome: object = { result: 'done', image_bytes: 7 }) =>
      endpoint.reportAction({ ...ofInstance, host: 'h1', attempt: 1, number: 1, outcome } as never, request)
    const gone = (attempt = 1) =>
      endpoint.reportTerminated({ ...ofInstance, host: 'h1', attempt, terminated_at: LAUNCHED }, request)
    const shelve = async () =>
      (await endpoint.shelveInstance({ ...ofInstance, clean_shutdown: true }, request)).instance
    await step(1)
    await built('h1', 1)
    await cloud.sent()
    asked.length = 0
    return {
      ...cloud,
      asked,
      hosts,
      ofInstance,
      step,
      built,
      acted,
      gone,
      shelve,
      unshelve: async (where: object = {}) =>
        (await endpoint.unshelveInstance({ ...ofInstance, ...where }, request)).instance,
      remove: () => endpoint.deleteInstance(ofInstance, request),
      now: () => cloud.instance(uuid),
      told: async () => (await cloud.sent()).map(({ to, what }) => `${what} → ${to.replace('sevbus-', '')}`),
      async shelved() {
        await shelve()
        await acted()
        await gone()
        await cloud.sent()
      },
      outcomes: async () => (await cloud.attempts(uuid)).map(({ host, outcome }) => `${host}: ${outcome}`),
    }
  }

  it('goes off, becomes an image, and is let go of by its host; only then is its slot free', async () => {
    await using given = await running()

    expect(await given.shelve()).toMatchObject({ vm_state: 'active', task_state: 'shelving', host: 'h1' })
    const [exists, start, message] = await given.sent()
    expect([exists?.what, start?.what]).toEqual(['instance.exists', 'instance.shelve.start'])
    const { image } = (message as { args: unknown }).args as { image: ImageMeta }
    expect(message).toMatchObject({
      to: 'sevbus-compute.h1',
      what: 'shelve_instance',
      args: { clean_shutdown: true, number: 1, image: { name: 'web-shelved', disk_format: 'qcow2' } },
    })
    expect(image.properties).toMatchObject({ ...IMAGE.properties, image_type: 'snapshot', base_image_ref: IMAGE.id })

    await given.acted()
    expect(await given.now()).toMatchObject({ vm_state: 'shelved', task_state: 'shelving_offloading', host: 'h1' })
    expect(await given.told()).toEqual([
      info('instance.shelve.end'),
      info('instance.shelve_offload.start'),
      'terminate_instance → compute.h1',
    ])

    await given.gone()
    expect(await given.now()).toMatchObject({
      ...{ vm_state: 'shelved_offloaded', task_state: null, host: null, image: IMAGE, mem_encryption: ES },
    })
    expect(await given.told()).toEqual([
      info('instance.shelve_offload.end'),
      info('slot.released'),
      'release_allocations → scheduler',
    ])
    expect(await given.outcomes()).toEqual(['h1: shelved'])
  })

  it('asked again it is nothing, and so is what is told twice', async () => {
    await using given = await running()
    await given.shelve()
    await given.sent()
    expect(await given.shelve()).toMatchObject({ task_state: 'shelving' })
    await given.acted()
    await given.sent()
    expect(await given.shelve()).toMatchObject({ vm_state: 'shelved' })
    await given.acted()
    await expect(given.unshelve()).rejects.toEqual(withCode('INSTANCE_INVALID_STATE'))
    await given.gone()
    await given.sent()
    await given.gone()
    expect(await given.shelve()).toMatchObject({ vm_state: 'shelved_offloaded' })

    expect(await given.told()).toEqual([])
  })

  it('that fails leaves it as it was, or in ERROR where its guest is off after all', async () => {
    await using given = await running()
    await given.shelve()
    await given.sent()

    await given.acted({ result: 'failed', fault: FAULT, guest: 'running' })

    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h1', fault: FAULT })
    expect(await given.told()).toEqual(['instance.shelve.error → versioned_notifications.error'])
  })

  it('is built from its image anywhere, with no less than it had, and the image goes when it runs', async () => {
    await using given = await running()
    await given.shelved()

    expect(await given.unshelve()).toMatchObject({
      vm_state: 'shelved_offloaded',
      task_state: 'unshelving',
      attempt: 2,
    })
    expect(await given.unshelve()).toMatchObject({ attempt: 2 })
    expect(await given.told()).toEqual(['continue_build → conductor'])
    given.hosts.free = ['h2']
    await given.step(2)

    expect(given.asked).toMatchObject([
      { attempt: 2, mem_encryption: ES, keeps_encryption: true, ignore_hosts: [], image: { name: 'web-shelved' } },
    ])
    expect(await given.now()).toMatchObject({ task_state: 'spawning', host: 'h2', image: IMAGE })
    const sent = await given.sent()
    expect(sent.map(({ what }) => what)).toEqual(['slot.claimed', 'instance.unshelve.start', 'build_and_run_instance'])
    expect(sent[2]).toMatchObject({ to: 'sevbus-compute.h2', args: { instance: { image: { name: 'web-shelved' } } } })

    await given.built('h2', 2)
    await given.built('h2', 2)
    expect(await given.now()).toMatchObject({ vm_state: 'active', task_state: null, host: 'h2', image: IMAGE })
    expect(await given.told()).toEqual([
      info('instance.unshelve.end'),
      'note_build → scheduler',
      'remove_shelved_image → compute.h1',
    ])
    expect(await given.outcomes()).toEqual(['h1: shelved', 'h2: active'])
  })

  it('that finds no host stays shelved, with the reason, and can be asked for again', async () => {
    await using given = await running()
    await given.shelved()
    given.hosts.free = []
    await given.unshelve()
    await given.step(2)

    expect(await given.now()).toMatchObject({
      ...{ vm_state: 'shelved_offloaded', task_state: null, host: null, fault: withCode('NO_VALID_HOST') },
    })
    expect(await given.told()).toEqual([
      'continue_build → conductor',
      'compute_task.build_instances.error → versioned_notifications.error',
      'release_allocations → scheduler',
    ])
    expect(await given.outcomes()).toEqual(['h1: shelved', 'null: no valid host'])

    given.hosts.free = ['h3']
    await given.unshelve()
    await given.step(3)
    await given.built('h3', 3)
    expect(await given.now()).toMatchObject({ vm_state: 'active', host: 'h3', fault: null })
  })

  it('tries other hosts, counting its own tries only, and stays shelved when all fail', async () => {
    await using given = await running({ maxAttempts: 2 })
    await given.shelved()
    await given.unshelve()
    await given.step(2)
    await given.built('h1', 2, { result: 'failed', fault: FAULT, retryable: true })
    expect(await given.now()).toMatchObject({ task_state: 'unshelving', host: null, attempt: 3 })
    await given.step(3)
    given.hosts.given = { ...ES, model: 'amd-sev-snp', policy: '0x00030000' }
    await given.sent()
    await given.built('h2', 3, { result: 'failed', fault: FAULT, retryable: true })

    expect(given.asked.map(({ ignore_hosts }) => ignore_hosts)).toEqual([[], ['h1']])
    expect(await given.now()).toMatchObject({ vm_state: 'shelved_offloaded', host: null, mem_encryption: ES })
    expect((await given.now()).fault?.message).toContain('failed on 2 host(s)')
    expect(await given.told()).toContain('instance.unshelve.error → versioned_notifications.error')
  })

  it('a scheduler that gives it less than it had is not believed', async () => {
    await using given = await running()
    await given.shelved()
    given.hosts.given = { ...ES, model: 'amd-sev', policy: '0x0033' }
    await given.unshelve()

    await given.step(2)

    expect(await given.now()).toMatchObject({ vm_state: 'shelved_offloaded', fault: withCode('INVALID_PROPERTY') })
  })

  it('comes back where it is wanted: in a zone, from now on, or on one host, which has to be in it; as in Nova', async () => {
    await using given = await running()
    given.zones.set('h1', 'a').set('h2', 'b')
    await given.shelved()
    given.hosts.free = []
    let attempt = 1
    const refusedWith = (where: object) => given.unshelve(where).catch(({ code }) => code)
    const asked = async (where: object) => {
      attempt++
      await given.unshelve(where)
      await given.step(attempt)
      expect(await given.now()).toMatchObject({ vm_state: 'shelved_offloaded', task_state: null })
      const { availability_zone, force_hosts } = given.asked.at(-1) as RequestSpec
      return [availability_zone, ...force_hosts]
    }

    expect(await asked({})).toEqual([null])
    expect(await asked({ host: 'h2' })).toEqual([null, 'h2'])
    expect(await asked({ availability_zone: 'a' })).toEqual(['a'])
    expect(await asked({})).toEqual(['a'])
    expect(await refusedWith({ host: 'h2' })).toBe('UNSHELVE_HOST_NOT_IN_AZ')
    expect(await asked({ host: 'h1' })).toEqual(['a', 'h1'])
    expect(await asked({ availability_zone: 'b', host: 'h2' })).toEqual(['b', 'h2'])
    expect(await refusedWith({ availability_zone: 'b', host: 'h1' })).toBe('UNSHELVE_HOST_NOT_IN_AZ')
    expect(await asked({ availability_zone: null, host: 'h1' })).toEqual([null, 'h1'])
    expect(await refusedWith({ host: 'nowhere' })).toBe('COMPUTE_HOST_NOT_FOUND')

    await given.unshelve({ host: 'h2' })
    expect(await given.unshelve({ host: 'h2' })).toMatchObject({ task_state: 'unshelving', attempt: attempt + 1 })
    expect(await refusedWith({ host: 'h1' })).toBe('INSTANCE_INVALID_STATE')
    expect(await refusedWith({ host: 'h2', availability_zone: 'b' })).toBe('INSTANCE_INVALID_STATE')
  })

  it('deleted, its image goes with it: while it is shelved, while it is built, and while nobody knows whether there is one', async () => {
    await using shelved = await running()
    await shelved.shelved()
    await shelved.remove()
    expect((await shelved.now()).vm_state).toBe('deleted')
    expect(await shelved.told()).toEqual([
      ...[info('instance.delete.start'), info('instance.delete.end'), 'release_allocations → scheduler'],
      'remove_shelved_image → compute.h1',
    ])

    await using building = await running()
    await building.shelved()
    await building.unshelve()
    building.hosts.free = ['h2']
    await building.step(2)
    await building.sent()
    await building.remove()
    const report = { ...building.ofInstance, host: 'h2', attempt: 2, terminated_at: LAUNCHED }
    await building.endpoint.reportTerminated(report, building.request)
    expect((await building.now()).vm_state).toBe('deleted')
    expect(await building.told()).toContain('remove_shelved_image → compute.h1')

    await using shelving = await running()
    await shelving.shelve()
    await shelving.sent()
    await shelving.remove()
    expect(await shelving.told()).toEqual([
      'instance.shelve.error → versioned_notifications.error',
      ...[info('instance.delete.start'), 'terminate_instance → compute.h1', 'remove_shelved_image → compute.h1'],
    ])
  })

  it('is asked for again wherever it stands still, and its host is waited for no more once that is fenced', async () => {
    let now = new Date(LAUNCHED)
    await using given = await running({ now: () => now })
    const later = async () => {
      now = new Date(now.getTime() + 120_000)
      await reviveOverdue(given.ports)
      return given.told()
    }
    await given.shelve()
    await given.sent()
    expect(await later()).toEqual(['shelve_instance → compute.h1'])
    await given.acted()
    await given.sent()
    expect(await later()).toEqual(['terminate_instance → compute.h1'])

    now = new Date(now.getTime() + 10_000)
    given.fenced.add('h1')
    expect(await endFencedDeletions(given.ports)).toBe(1)
    expect(await given.now()).toMatchObject({ vm_state: 'shelved_offloaded', host: null })

    await given.unshelve()
    await given.sent()
    expect(await later()).toEqual(['continue_build → conductor'])
  })

  it('is not for what is shelved already, rescued, or in ERROR', async () => {
    await using given = await running()
    await given.shelved()
    await expect(given.endpoint.startInstance(given.ofInstance, given.request)).rejects.toThrow('is shelved_offloaded')
    await given.unshelve()
    await expect(given.shelve()).rejects.toEqual(withCode('INSTANCE_INVALID_STATE'))
  })
})
