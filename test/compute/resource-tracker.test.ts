import { describe, expect, it } from 'vitest'
import { DEFAULT_RESOURCE_OPTIONS, hostReport } from '../../src/compute/resource-tracker.ts'
import { HostReport } from '../../src/objects/host-report.ts'
import { aCapableHost } from './support/hosts.ts'

const snapshot = {
  host: 'node1',
  hypervisorType: 'fake',
  capabilities: aCapableHost({
    slots: { 'amd-sev': 410, 'amd-sev-es': 99 },
    missing: { 'amd-sev-snp': 'the kernel has it off' },
  }),
  resources: { vcpus: 64, memory_mb: 262_144, disk_gb: 2000 },
  options: DEFAULT_RESOURCE_OPTIONS,
  ioOps: 2,
  traits: ['CUSTOM_SSD'],
  reportIntervalSeconds: 10,
}

const slots = (total: number) => ({
  MEM_ENCRYPTION_CONTEXT: { total, reserved: 0, min_unit: 1, max_unit: 1, step_size: 1, allocation_ratio: 1 },
})

describe('what a host publishes', () => {
  it('is itself and a pool for each model, as Nova names them', () => {
    const report = hostReport(snapshot)

    expect(report).toEqual({
      host: 'node1',
      hypervisor_type: 'fake',
      architecture: 'x86_64',
      io_ops: 2,
      default_machine_type: 'q35',
      machine_types: ['q35', 'pc', 'pc-q35-9.2'],
      supports_uefi: true,
      disk_buses: [],
      missing_models: { 'amd-sev-snp': 'the kernel has it off' },
      report_interval_seconds: 10,
      providers: [
        {
          name: 'node1',
          parent_name: null,
          inventories: {
            VCPU: { total: 64, reserved: 0, min_unit: 1, max_unit: 64, step_size: 1, allocation_ratio: 4 },
            MEMORY_MB: {
              total: 262_144,
              reserved: 512,
              min_unit: 1,
              max_unit: 262_144,
              step_size: 1,
              allocation_ratio: 1,
            },
            DISK_GB: { total: 2000, reserved: 0, min_unit: 1, max_unit: 2000, step_size: 1, allocation_ratio: 1 },
          },
          traits: ['OWNER_NOVA', 'CUSTOM_SSD'],
        },
        {
          name: 'node1_amd_sev',
          parent_name: 'node1',
          inventories: slots(410),
          traits: ['HW_CPU_X86_AMD_SEV', 'OWNER_NOVA'],
        },
        {
          name: 'node1_amd_sev_es',
          parent_name: 'node1',
          inventories: slots(99),
          traits: ['HW_CPU_X86_AMD_SEV_ES', 'OWNER_NOVA'],
        },
      ],
    })
    expect(HostReport.parse(report)).toEqual(report)
  })

  it('has no pool without slots, and no inventory of nothing', () => {
    const report = hostReport({
      ...snapshot,
      capabilities: aCapableHost({ slots: { 'amd-sev': 0 }, missing: {} }),
      resources: { vcpus: 4, memory_mb: 256, disk_gb: 0 },
    })

    expect(report.providers.map(({ name }) => name)).toEqual(['node1'])
    expect(report.providers[0]?.inventories).toEqual({
      VCPU: expect.objectContaining({ total: 4 }),
      MEMORY_MB: expect.objectContaining({ total: 256, reserved: 256 }),
    })
  })
})
