import { availabilityZoneOf } from '../../src/objects/availability-zone.ts'
import type { HostReport } from '../../src/objects/host-report.ts'
import { capacity } from '../../src/objects/inventory.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryptionModel, policyHex } from '../../src/objects/mem-encryption.ts'
import { RequestSpec } from '../../src/objects/request-spec.ts'
import type { HostState, ProviderState } from '../../src/scheduler/host-state.ts'
import { type SchedulingRequest, schedulingRequest } from '../../src/scheduler/scheduling-request.ts'
import { aHostReport } from '../support/host-reports.ts'

type HostOptions = Parameters<typeof aHostReport>[1] & {
  /** By resource class, on whatever provider has it. */
  readonly used?: Readonly<Record<string, number>>
  /** Part of the memory that is used. */
  readonly pinned?: number
  readonly state?: Partial<HostState>
}

/** A host as the scheduler sees it after its first report: up, enabled, empty, 64 VCPU, 64 GiB, 1000 GB. */
export function aHost(host: string, { used = {}, pinned = 0, state = {}, ...options }: HostOptions = {}): HostState {
  const report = aHostReport(host, options)
  const [root, ...pools] = report.providers.map((provider) => providerState(provider, used, pinned))
  return {
    host,
    up: true,
    secondsSinceSeen: 3,
    lastSeenUp: new Date('2026-03-01T10:00:00Z'),
    reportIntervalSeconds: 10,
    forcedDown: false,
    fenced: false,
    disabled: false,
    disabledReason: undefined,
    failedBuilds: 0,
    aggregates: [],
    availabilityZone: availabilityZoneOf(state.aggregates ?? []),
    hypervisorType: report.hypervisor_type,
    hypervisorSilence: report.hypervisor_silence,
    architecture: report.architecture,
    defaultMachineType: report.default_machine_type,
    machineTypes: report.machine_types,
    supportsUefi: report.supports_uefi,
    uefiGuests: report.uefi_guests,
    diskBuses: report.disk_buses,
    missingModels: report.missing_models,
    ioOps: report.io_ops,
    instances: 0,
    root: root as ProviderState,
    pools,
    ...state,
  }
}

function providerState(
  { name, traits, inventories }: HostReport['providers'][number],
  used: Readonly<Record<string, number>>,
  pinned: number,
): ProviderState {
  const states = Object.entries(inventories).map(([resourceClass, inventory]) => {
    return [
      resourceClass,
      {
        ...inventory,
        capacity: capacity(inventory),
        used: used[resourceClass] ?? 0,
        pinned: resourceClass === 'MEMORY_MB' ? pinned : 0,
        offered: true,
        version: 1,
      },
    ] as const
  })
  return { name, traits, inventories: Object.fromEntries(states) }
}

interface RequestOptions {
  readonly model?: MemEncryptionModel
  readonly vcpus?: number
  readonly memoryMb?: number
  readonly diskGb?: number
  readonly image?: Readonly<Record<string, string>>
  readonly spec?: Partial<RequestSpec>
}

export const INSTANCE_UUID = '11111111-1111-4111-8111-111111111111'

/** For a guest of 1 VCPU, 1 GiB and 10 GB; encrypted when a model is given, with an image that fits. */
export function aRequestSpec({
  model,
  vcpus = 1,
  memoryMb = 1024,
  diskGb = 10,
  image,
  spec,
}: RequestOptions = {}): RequestSpec {
  return RequestSpec.parse({
    instance_uuid: INSTANCE_UUID,
    attempt: 1,
    project_id: null,
    user_id: null,
    flavor: {
      flavorid: '1',
      name: 'm1.test',
      vcpus,
      memory_mb: memoryMb,
      root_gb: diskGb,
      extra_specs: model ? { 'hw:mem_encryption': 'true', 'hw:mem_encryption_model': model } : {},
    },
    image: { properties: image ?? (model ? fittingImage(model) : {}) },
    mem_encryption: model
      ? { model, policy: policyHex(MEM_ENCRYPTION_MODELS[model]), requested_by: 'flavor' as const }
      : null,
    ...spec,
  })
}

function fittingImage(model: MemEncryptionModel): Readonly<Record<string, string>> {
  const { needsStatelessFirmware } = MEM_ENCRYPTION_MODELS[model]
  const stateless = needsStatelessFirmware ? { hw_firmware_stateless: 'true' } : {}
  return { hw_firmware_type: 'uefi', hw_machine_type: 'q35', ...stateless }
}

export function aRequest(options: RequestOptions = {}): SchedulingRequest {
  return schedulingRequest(aRequestSpec(options))
}
