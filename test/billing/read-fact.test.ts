import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { isBilled, readFact } from '../../src/billing/read-fact.ts'
import { AnyNotification } from '../../src/notifications/notification.ts'
import { INSTANCE, told } from './told.ts'

const sample = (name: string) =>
  AnyNotification.parse({
    ...JSON.parse(readFileSync(`docs/notifications/${name}.json`, 'utf8')),
    message_id: 'm-1',
  })

describe('a fact about use', () => {
  it('is read from what workers send', () => {
    expect(readFact(sample('instance-create-end'))).toEqual({
      message_id: 'm-1',
      event_type: 'instance.create.end',
      instance_uuid: INSTANCE,
      kind: 'begins',
      sequence: 7,
      at: '2026-11-24T03:13:11Z',
      project_id: 'fake-project',
      user_id: 'fake-user',
      display_name: 'some-server',
      charged: {
        host: 'node1',
        flavor: { name: 'm1.test', vcpus: 1, memory_mb: 1024 },
        model: 'amd-sev',
        state: 'active',
      },
      launched_at: '2026-11-24T03:13:11Z',
      terminated_at: null,
    })
    expect(readFact(sample('instance-delete-end'))).toMatchObject({ kind: 'ends', at: '2026-11-24T04:00:00Z' })
    expect(readFact(sample('instance-rebuild-end'))).toMatchObject({ kind: 'changes' })
    expect(readFact(sample('instance-power_off-end'))).toMatchObject({ kind: 'changes', charged: { state: 'stopped' } })
    expect(readFact(sample('instance-power_on-end'))).toMatchObject({ kind: 'changes', charged: { state: 'active' } })
  })

  it('is in no notification of what has only begun, or has failed, nor of what changes nothing for who pays', () => {
    const others = ['instance-create-start', 'instance-create-error', 'instance-delete-start', 'instance-evacuate']

    expect(others.map((name) => isBilled(sample(name)))).toEqual([false, false, false, false])
    const aside = ['instance-update', 'service-update', 'scheduler-select_destinations-end', 'compute-exception']
    expect(aside.map((name) => isBilled(sample(name)))).toEqual([false, false, false, false])
    expect(isBilled({ ...sample('instance-create-end'), event_type: 'toString' })).toBe(false)
    expect(isBilled({ ...sample('instance-create-end'), event_type: null })).toBe(false)
  })

  it('is in the failure of a rebuild where it is, and not in that of an evacuation', () => {
    const at = '2026-11-09T08:07:06Z'
    const failed = told('instance.rebuild.error', { at, state: 'error', model: null })

    expect(readFact(failed)).toMatchObject({ kind: 'changes', at, charged: { state: 'error', model: null } })
    expect(readFact(told('instance.rebuild.error', { at, host: 'node2' }))).toBeUndefined()
  })

  it('is in none of an instance that never ran', () => {
    const never = told('instance.delete.end', { launched_at: null, terminated_at: '2026-11-01T00:00:00Z' })

    expect(readFact(never)).toBeUndefined()
  })

  it("is read from Nova's own, whose flavor says what it asks for", () => {
    const model = (extra_specs: Record<string, string>) =>
      readFact(told('instance.create.end', { model: 'nova', extra_specs }))?.charged.model

    expect(model({})).toBeNull()
    expect(model({ 'hw:mem_encryption': 'False' })).toBeNull()
    expect(model({ 'hw:mem_encryption': 'True' })).toBe('amd-sev')
    expect(model({ 'hw:mem_encryption': '1', 'hw:mem_encryption_model': 'amd-sev-es' })).toBe('amd-sev-es')
  })

  it('is of when it was told, where the payload has no moment for it', () => {
    const at = '2026-11-09T08:07:06Z'
    const off = told('instance.power_off.end', { at, state: 'stopped' })

    expect(readFact(off)).toMatchObject({ kind: 'changes', at, charged: { state: 'stopped' } })
    expect(readFact({ ...off, timestamp: '2026-11-09T09:07:06.5+01:00' })).toMatchObject({ at })
  })

  it('is of when it was stored, be it told in the next second, and of an arrival when its guest ran there', () => {
    const told_at = '2026-11-09T08:07:06.010Z'
    const stored = { at: told_at, updated_at: '2026-11-09T08:07:05Z' }
    const launched = { at: told_at, updated_at: told_at, launched_at: '2026-11-09T08:07:03Z' }

    expect(readFact(told('instance.power_off.end', stored))).toMatchObject({ at: '2026-11-09T08:07:05Z' })
    expect(readFact(told('instance.shelve_offload.end', stored))).toMatchObject({ kind: 'ends', at: stored.updated_at })
    expect(readFact(told('instance.resize_finish.end', launched))).toMatchObject({ at: launched.launched_at })
    expect(readFact(told('instance.unshelve.end', launched))).toMatchObject({
      kind: 'begins',
      at: launched.launched_at,
    })
    // A Nova may have changed it otherwise since.
    expect(readFact(told('instance.power_off.end', { ...stored, model: 'nova' }))).toMatchObject({
      at: '2026-11-09T08:07:06Z',
    })
  })

  it('has the period of instance.exists', () => {
    const period = ['2026-11-01T00:00:00Z', '2026-12-01T00:00:00Z'] as const

    expect(readFact(told('instance.exists', { period }))).toMatchObject({
      kind: 'exists',
      at: '2026-12-01T00:00:00Z',
      told_at: '2026-12-01T00:00:00Z',
      period: { beginning: period[0], ending: period[1] },
    })
  })

  it('is refused where it cannot be read, with what is wrong', () => {
    const broken = told('instance.create.end')
    const data = (broken.payload as { 'nova_object.data': Record<string, unknown> })['nova_object.data']

    expect(() => readFact({ ...broken, payload: [1] })).toThrow('payload: Invalid input')
    expect(() => readFact({ ...broken, timestamp: 'soon', event_type: 'instance.power_on.end' })).toThrow('is no time')
    expect(() => readFact(told('instance.exists'))).toThrow('instance.exists has no audit_period')
    delete data.flavor
    expect(() => readFact(broken)).toThrow('payload.nova_object.data.flavor: Invalid input')
  })

  it('is refused where a size is none, or a moment beyond all years, for nobody could show a bill of it', () => {
    const flavor = (vcpus: number, memory_mb = 4096) =>
      told('instance.create.end', { flavor: { name: 'm', vcpus, memory_mb } })
    const where = 'payload.nova_object.data.flavor.nova_object.data'
    const launched = (launched_at: string) => told('instance.create.end', { launched_at, at: '2026-11-09T08:07:06Z' })
    const off = (timestamp: string) => ({ ...told('instance.power_off.end'), timestamp })

    for (const vcpus of [1.5, -4, 1e300]) expect(() => readFact(flavor(vcpus))).toThrow(`${where}.vcpus: `)
    for (const mb of [1.5, -1, 1e300, 2 ** 31]) expect(() => readFact(flavor(1, mb))).toThrow(`${where}.memory_mb: `)
    for (const at of ['9999-12-31T23:59:59-23:00', '0000-01-01T00:00:00+23:00', '1969-12-31T23:59:59Z'])
      expect(() => readFact(launched(at))).toThrow(
        `payload.nova_object.data.launched_at: ${JSON.stringify(at)} is not between 1970 and 9999`,
      )
    for (const at of [
      '1',
      '+275760-09-13T00:00:00Z',
      '9999-12-31T23:59:59-23:00',
      '2026-02-30 00:00:00',
      '2026-11-00T00:00:00Z',
    ])
      expect(() => readFact(off(at))).toThrow(`timestamp: ${JSON.stringify(at)} is no time between 1970 and 9999`)
    expect(readFact(off('2026-11-09 09:07:06.5+0100'))?.at).toBe('2026-11-09T08:07:06Z')
    expect(readFact(launched('1970-01-01T00:00:00Z'))?.at).toBe('1970-01-01T00:00:00Z')
  })

  it('is of the same instance, in whatever case its uuid is written', () => {
    expect(readFact(told('instance.create.end', { uuid: INSTANCE.toUpperCase() }))?.instance_uuid).toBe(INSTANCE)
  })

  it('has no control characters in the names that strangers chose', () => {
    const [fact] = [readFact(told('instance.create.end', { host: 'node\u001b[2J1' }))]

    expect(fact?.charged.host).toBe('node\ufffd[2J1')
  })
})
