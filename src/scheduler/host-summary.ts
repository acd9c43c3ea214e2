import type { HostSummary } from '../objects/host-report.ts'
import { closedModels } from './encryption-mode.ts'
import { type HostState, modelOf, type ProviderState } from './host-state.ts'

/** A host as operators see it. @param worker where the one is whose reports are taken */
export function hostSummary(host: HostState, worker?: string): HostSummary {
  const closed = closedModels(host)
  return {
    host: host.host,
    state: host.up ? 'up' : 'down',
    disabled: host.disabled,
    disabled_reason: host.disabledReason ?? null,
    forced_down: host.forcedDown,
    fenced: host.fenced,
    failed_builds: host.failedBuilds,
    last_seen_up: host.lastSeenUp.toISOString(),
    worker: worker ?? null,
    availability_zone: host.availabilityZone,
    aggregates: host.aggregates.map(({ name }) => name),
    hypervisor_type: host.hypervisorType,
    hypervisor_silence: host.hypervisorSilence ?? null,
    architecture: host.architecture ?? null,
    default_machine_type: host.defaultMachineType,
    missing_models: { ...host.missingModels, ...closed },
    io_ops: host.ioOps ?? null,
    instances: host.instances,
    providers: [host.root, ...host.pools].map((provider) => providerSummary(provider, Object.keys(closed))),
  }
}

function providerSummary(provider: ProviderState, closed: readonly string[]): HostSummary['providers'][number] {
  const model = modelOf(provider)
  const isOpen = model === undefined || !closed.includes(model)
  const inventories = Object.entries(provider.inventories).map(([name, inventory]) => {
    const { total, reserved, allocation_ratio, used, offered } = inventory
    // What the host does not offer, or not now, has no capacity, whatever is still in use of it.
    return [
      name,
      { total, reserved, allocation_ratio, used, capacity: offered && isOpen ? inventory.capacity : 0 },
    ] as const
  })
  return {
    name: provider.name,
    model: model ?? null,
    traits: [...provider.traits],
    inventories: Object.fromEntries(inventories),
  }
}
