import type { HostCapabilities } from '../../../src/compute/libvirt/host-capabilities.ts'

/** A host with every model, which no machine is: for what depends on the guest alone. */
export function aCapableHost(changes: Partial<HostCapabilities> = {}): HostCapabilities {
  return {
    arch: 'x86_64',
    defaultMachineType: 'q35',
    machineTypes: ['q35', 'pc', 'pc-q35-9.2'],
    supportsUefi: true,
    slots: { 'amd-sev': 100, 'amd-sev-es': 15, 'amd-sev-snp': 15 },
    missing: {},
    cbitpos: 51,
    reducedPhysBits: 1,
    ...changes,
  }
}
