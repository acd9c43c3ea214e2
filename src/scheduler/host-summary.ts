import type { HostSummary } from '../objects/host-report.ts'
import { type HostState, modelOf, type ProviderState } from './host-state.ts'

/** A host as operators see it. */
export function hostSummary(host: HostState): HostSummary {
  return {
    host: host.host,
    state: host.up ? 'up' : 'down',
    disabled: host.disabled,
    disabled_reason: host.disabledReason ?? null,
    forced_down: host.forcedDown,
    failed_builds: host.failedBuilds,
    last_seen_up: host.lastSeenUp.toISOString(),
    availability_zone: host.availabilityZone,
    aggregates: host.aggregates.map(({ name }) => name),
    hypervisor_type: host.hypervisorType,
    architecture: host.architecture ?? null,
    default_machine_type: host.defaultMachineType,
    missing_models: { ...host.missingModels },
    io_ops: host.ioOps ?? null,
    instances: host.instances,
    providers: [host.root, ...host.pools].map(providerSummary),
  }
}

function providerSummary(provider: ProviderState): HostSummary['providers'][number] {
  const inventories = Object.entries(provider.inventories).map(([name, inventory]) => {
    const { total, reserved, used, offered } = inventory
    // What the host offers no more has no capacity left, whatever is still in use of it.
    return [name, { total, reserved, used, capacity: offered ? inventory.capacity : 0 }] as const
  })
  return {
    name: provider.name,
    model: modelOf(provider) ?? null,
    traits: [...provider.traits],
    inventories: Object.fromEntries(inventories),
  }
}
