import type { HostReport, HypervisorSilence, ProviderReport } from '../objects/host-report.ts'
import type { Inventory } from '../objects/inventory.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionRules } from '../objects/mem-encryption.ts'
import { DISK_GB, MEM_ENCRYPTION_CONTEXT, MEMORY_MB, OWNER_NOVA, VCPU } from '../objects/resources.ts'
import type { HostCapabilities } from './libvirt/host-capabilities.ts'
import type { HostResources } from './virt-driver.ts'

/** How much of the machine guests may have. Names and defaults are Nova's. */
export interface ResourceOptions {
  readonly reserved_host_cpus: number
  readonly reserved_host_memory_mb: number
  readonly reserved_host_disk_gb: number
  readonly cpu_allocation_ratio: number
  readonly ram_allocation_ratio: number
  readonly disk_allocation_ratio: number
}

export const DEFAULT_RESOURCE_OPTIONS: ResourceOptions = {
  reserved_host_cpus: 0,
  reserved_host_memory_mb: 512,
  reserved_host_disk_gb: 0,
  cpu_allocation_ratio: 4,
  ram_allocation_ratio: 1,
  disk_allocation_ratio: 1,
}

export interface HostSnapshot {
  readonly host: string
  readonly hypervisorType: string
  readonly capabilities: HostCapabilities
  readonly resources: HostResources
  readonly options: ResourceOptions
  /** Builds under way. */
  readonly ioOps: number
  /** Of the operator's: what hosts are chosen by, `CUSTOM_…`. */
  readonly traits: readonly string[]
  readonly reportIntervalSeconds: number
  /** Undefined: the hypervisor answers. */
  readonly silence?: HypervisorSilence | undefined
}

/** What a host publishes: itself, and one pool of slots for each model that it offers. */
export function hostReport(snapshot: HostSnapshot): HostReport {
  const { host, capabilities } = snapshot
  const pools = Object.values(MEM_ENCRYPTION_MODELS).flatMap((rules) => pool(host, rules, capabilities) ?? [])
  return {
    host,
    hypervisor_type: snapshot.hypervisorType,
    architecture: capabilities.arch,
    default_machine_type: capabilities.defaultMachineType,
    machine_types: capabilities.machineTypes.slice(0, 1000),
    supports_uefi: capabilities.supportsUefi || capabilities.namedFirmware === true,
    ...(capabilities.uefiGuests && { uefi_guests: capabilities.uefiGuests }),
    disk_buses: [...(capabilities.diskBuses ?? [])].slice(0, 100),
    missing_models: Object.fromEntries(
      Object.entries(capabilities.missing).map(([model, reason]) => [model, reason.slice(0, 500)]),
    ),
    io_ops: snapshot.ioOps,
    ...(snapshot.silence && { hypervisor_silence: snapshot.silence }),
    providers: [root(snapshot), ...pools],
    report_interval_seconds: snapshot.reportIntervalSeconds,
  }
}

function root({ host, resources, options, traits }: HostSnapshot): ProviderReport {
  const inventories = {
    [VCPU]: inventory(resources.vcpus, options.reserved_host_cpus, options.cpu_allocation_ratio),
    [MEMORY_MB]: inventory(resources.memory_mb, options.reserved_host_memory_mb, options.ram_allocation_ratio),
    [DISK_GB]: inventory(resources.disk_gb, options.reserved_host_disk_gb, options.disk_allocation_ratio),
  }
  return {
    name: host,
    parent_name: null,
    // Placement knows no inventory of nothing.
    inventories: Object.fromEntries(Object.entries(inventories).filter(([, { total }]) => total > 0)),
    traits: [OWNER_NOVA, ...traits],
  }
}

/** No single guest may have more than the machine has, whatever the ratio. */
function inventory(total: number, reserved: number, allocationRatio: number): Inventory {
  return {
    total,
    reserved: Math.min(reserved, total),
    min_unit: 1,
    max_unit: total,
    step_size: 1,
    allocation_ratio: allocationRatio,
  }
}

/** A guest takes one slot: what the hardware has, never overcommitted. */
function pool(
  host: string,
  { model, poolSuffix, trait }: MemEncryptionRules,
  { slots }: HostCapabilities,
): ProviderReport | undefined {
  const total = slots[model]
  if (!total) return undefined
  return {
    name: `${host}${poolSuffix}`,
    parent_name: host,
    inventories: {
      [MEM_ENCRYPTION_CONTEXT]: { total, reserved: 0, min_unit: 1, max_unit: 1, step_size: 1, allocation_ratio: 1 },
    },
    traits: [trait, OWNER_NOVA],
  }
}
