import type { HostReport } from '../../src/objects/host-report.ts'
import type { Inventory } from '../../src/objects/inventory.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel } from '../../src/objects/mem-encryption.ts'

export function anInventory(total: number, more: Partial<Inventory> = {}): Inventory {
  return { total, reserved: 0, min_unit: 1, max_unit: total, step_size: 1, allocation_ratio: 1, ...more }
}

interface HostOptions {
  readonly vcpus?: number
  readonly memoryMb?: number
  readonly diskGb?: number
  /** How many times its memory is lent out. */
  readonly ramRatio?: number
  /** Slots per model; a model left out has no pool. */
  readonly slots?: Partial<Record<MemEncryptionModel, number>>
  readonly report?: Partial<HostReport>
}

/** What the compute worker of a host with these resources reports. */
export function aHostReport(host: string, options: HostOptions = {}): HostReport {
  const { vcpus = 64, memoryMb = 65_536, diskGb = 1000, ramRatio = 1, slots = {}, report = {} } = options
  const pools = Object.entries(slots).map(([model, total]) => {
    const { poolSuffix, trait } = MEM_ENCRYPTION_MODELS[model as MemEncryptionModel]
    return {
      name: `${host}${poolSuffix}`,
      parent_name: host,
      inventories: { MEM_ENCRYPTION_CONTEXT: anInventory(total, { max_unit: 1 }) },
      traits: ['OWNER_NOVA', trait],
    }
  })
  return {
    host,
    hypervisor_type: 'QEMU',
    default_machine_type: 'q35',
    machine_types: ['q35', 'pc', 'pc-q35-9.2', 'pc-i440fx-9.2'],
    supports_uefi: true,
    disk_buses: [],
    missing_models: {},
    report_interval_seconds: 10,
    providers: [
      {
        name: host,
        parent_name: null,
        inventories: {
          VCPU: anInventory(vcpus),
          MEMORY_MB: anInventory(memoryMb, { allocation_ratio: ramRatio }),
          DISK_GB: anInventory(diskGb),
        },
        traits: ['OWNER_NOVA'],
      },
      ...pools,
    ],
    ...report,
  }
}
