import { z } from 'zod'
import { HostCapabilities } from '../../compute/libvirt/host-capabilities.ts'
import { limitSlots, type SlotLimits } from '../../compute/libvirt/slot-limits.ts'
import { hostReport } from '../../compute/resource-tracker.ts'
import type { Config } from '../../config.ts'
import { InvalidFile } from '../../errors.ts'
import { DEFAULT_AVAILABILITY_ZONE } from '../../objects/availability-zone.ts'
import { HostName, type ProviderReport } from '../../objects/host-report.ts'
import { capacity } from '../../objects/inventory.ts'
import type { HostState, ProviderState } from '../../scheduler/host-state.ts'
import { MAX_DOCUMENT_BYTES, readNamedFile } from '../named-file.ts'
import { describeProblems } from '../wrong-document.ts'

/** A host as `sevbus host-capabilities` writes it down: what it can do, and what the machine has. */
const HostFile = z.strictObject({
  host: HostName,
  capabilities: HostCapabilities,
  resources: z.strictObject({
    vcpus: z.int().min(1),
    memory_mb: z.int().min(1),
    disk_gb: z.int().min(0),
  }),
})

export type DescribedHost = z.infer<typeof HostFile>

/**
 * The host with what an operator's limits leave of it, as a boot would find it.
 *
 * @throws InvalidFile naming what is wrong in it
 */
export function readHostFile(file: string, limits: SlotLimits): DescribedHost {
  const document = readJson(file)
  const parsed = HostFile.safeParse(document)
  if (!parsed.success) {
    const fix = 'write it anew with: sevbus host-capabilities, or see examples/host.json'
    throw new InvalidFile(`${file} is not a host: ${describeProblems(parsed.error, document)}; ${fix}`, { file, fix })
  }
  // What the operator should know of his limits, the worker tells him.
  return { ...parsed.data, capabilities: limitSlots(parsed.data.capabilities, limits).capabilities }
}

function readJson(file: string): unknown {
  try {
    return JSON.parse(readNamedFile(file, MAX_DOCUMENT_BYTES).toString())
  } catch (error) {
    const fix = 'name a JSON file, as sevbus host-capabilities writes it'
    throw new InvalidFile(`--host ${file} is no JSON file: ${(error as Error).message}; ${fix}`, { file, fix })
  }
}

/** The host as a scheduler would see it after its first report, with nothing on it. */
export function emptyHost({ host, capabilities, resources }: DescribedHost, { compute }: Config): HostState {
  const options = { reserved_host_cpus: 0, reserved_host_disk_gb: 0, ...compute }
  const report = hostReport({
    host,
    hypervisorType: compute.driver,
    ioOps: 0,
    traits: compute.traits,
    capabilities,
    resources,
    options,
    reportIntervalSeconds: compute.report_interval_seconds,
  })
  return {
    host,
    up: true,
    secondsSinceSeen: 0,
    lastSeenUp: new Date(0),
    reportIntervalSeconds: report.report_interval_seconds,
    forcedDown: false,
    fenced: false,
    disabled: false,
    disabledReason: undefined,
    failedBuilds: 0,
    aggregates: [],
    availabilityZone: DEFAULT_AVAILABILITY_ZONE,
    hypervisorType: report.hypervisor_type,
    hypervisorSilence: undefined,
    architecture: report.architecture,
    defaultMachineType: report.default_machine_type,
    machineTypes: report.machine_types,
    supportsUefi: report.supports_uefi,
    uefiGuests: report.uefi_guests,
    diskBuses: report.disk_buses,
    missingModels: report.missing_models,
    ioOps: report.io_ops,
    instances: 0,
    // A host's report begins with the host itself.
    root: unused(report.providers[0] as ProviderReport),
    pools: report.providers.slice(1).map(unused),
  }
}

function unused({ name, traits, inventories }: ProviderReport): ProviderState {
  const states = Object.entries(inventories).map(([resourceClass, inventory]) => [
    resourceClass,
    { ...inventory, capacity: capacity(inventory), used: 0, pinned: 0, offered: true },
  ])
  return { name, traits, inventories: Object.fromEntries(states) }
}
