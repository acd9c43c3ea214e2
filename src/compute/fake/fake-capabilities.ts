import { parseDomainCapabilities } from '../libvirt/domain-capabilities.ts'
import { effectiveDescriptors } from '../libvirt/firmware-descriptors.ts'
import { decideHostCapabilities, type HostCapabilities } from '../libvirt/host-capabilities.ts'
import { machineTypesOf, machineTypesOfInterest, parseLibvirtCapabilities } from '../libvirt/libvirt-capabilities.ts'
import {
  capabilitiesDocument,
  descriptorFilesOf,
  kernelParametersOf,
  libvirtCapabilitiesDocument,
} from './capabilities-document.ts'
import { FAKE_MACHINES, type FakeHostFacts, type FakeHostOptions, withDefaults } from './fake-host-options.ts'

/** What the simulated machine can do, without opening it. @throws InvalidConfiguration */
export function fakeCapabilities(options: FakeHostOptions): HostCapabilities {
  return capabilitiesOf(withDefaults(options))
}

/** By way of documents and kernel parameters: what reads libvirt's answers reads these. */
export function capabilitiesOf(facts: FakeHostFacts): HostCapabilities {
  const libvirt = parseLibvirtCapabilities(libvirtCapabilitiesDocument(facts))
  const arch = libvirt.arch ?? 'unknown'
  const machines = machineTypesOfInterest(libvirt, arch, facts.default_machine_type)
  return decideHostCapabilities({
    arch,
    defaultMachineType: facts.default_machine_type,
    machineTypes: machineTypesOf(libvirt, arch),
    documents: machines.map((machine) =>
      parseDomainCapabilities(capabilitiesDocument(facts, FAKE_MACHINES[machine] ?? machine)),
    ),
    kernel: kernelParametersOf(facts),
    descriptors: effectiveDescriptors([descriptorFilesOf(facts)]),
    firmwareFiles: facts.firmware_files,
  })
}
