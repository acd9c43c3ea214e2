import { describe, expect, it } from 'vitest'
import { HostReport } from '../../src/objects/host-report.ts'
import { aHostReport } from '../support/host-reports.ts'

const worker = {
  worker_id: '6f3a5f0e-54c6-4b06-9f4b-0d0f5c1d5a11',
  sequence: 1,
  machine: 'm1',
  pid: 7,
  clock_ms: -1,
}
const told = { ...aHostReport('cn-1', { slots: { 'amd-sev': 15 } }), worker }

/** Where it was found wrong; none: it was taken. */
function faultsOf(report: unknown): readonly string[] {
  const parsed = HostReport.safeParse(report)
  return parsed.success ? [] : [...new Set(parsed.error.issues.map(({ path }) => path.join('.')))]
}

const [root] = told.providers
const withVcpu = (lie: object) => {
  const inventories = { VCPU: { ...root?.inventories.VCPU, ...lie } }
  return { ...told, providers: [{ ...root, inventories }] }
}

describe('a host report at the door', () => {
  it('is taken as workers send it, also without what earlier releases did not tell', () => {
    expect(faultsOf(told)).toEqual([])
    const { worker: _, machine_types: __, disk_buses: ___, ...earlier } = told
    expect(faultsOf(earlier)).toEqual([])
  })

  it.each([
    { total: -1 },
    { total: 0 },
    { total: 1e10 },
    { total: Number.NaN },
    { total: '64' },
    { reserved: -1 },
    { min_unit: 0 },
    { max_unit: 1.5 },
    { step_size: 0 },
    { allocation_ratio: Number.NaN },
    { allocation_ratio: Number.POSITIVE_INFINITY },
    { allocation_ratio: -1 },
    { allocation_ratio: 1001 },
  ])('is refused for the inventory %j by the name of the field', (lie) => {
    expect(faultsOf(withVcpu(lie))).toEqual([`providers.0.inventories.VCPU.${Object.keys(lie)[0]}`])
  })

  it('is refused for keys that it does not have: nobody reports a generation, or a use', () => {
    expect(faultsOf(withVcpu({ used: 1 }))).toEqual(['providers.0.inventories.VCPU'])
    expect(faultsOf({ ...told, providers: [{ ...root, generation: 99 }] })).toEqual(['providers.0'])
  })

  it.each([{ sequence: 0 }, { sequence: 1.5 }, { sequence: 2 ** 53 }, { worker_id: 'cn-1' }, { machine: '\u001b[2J' }])(
    'is refused for a worker with %j',
    (lie) => {
      expect(faultsOf({ ...told, worker: { ...worker, ...lie } })).toEqual([`worker.${Object.keys(lie)[0]}`])
    },
  )

  it.each([
    [{ hypervisor_type: 'a\0' }, 'hypervisor_type'],
    [{ missing_models: { 'amd-sev': 'half \ud800' } }, 'missing_models.amd-sev'],
    [{ disk_buses: ['a\0'] }, 'disk_buses.0'],
    [{ report_interval_seconds: 0 }, 'report_interval_seconds'],
    [{ report_interval_seconds: Number.NaN }, 'report_interval_seconds'],
    [{ host: 'a b' }, 'host'],
    [{ providers: [] }, 'providers'],
    [{ providers: [{ ...root, name: 'a\nb' }] }, 'providers.0.name'],
  ])('is refused for what no database stores, or nobody could mean: %j', (lie, field) => {
    expect(faultsOf({ ...told, ...lie })).toEqual([field])
  })

  it('may give its reasons in several lines', () => {
    expect(faultsOf({ ...told, missing_models: { 'amd-sev-es': 'off:\n\tsee the BIOS' } })).toEqual([])
  })
})
