import { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import { effectiveDescriptors } from '../libvirt/firmware-descriptors.ts'
import { decideHostCapabilities, type HostCapabilities } from '../libvirt/host-capabilities.ts'
import { limitSlots } from '../libvirt/slot-limits.ts'
import { checkKvmDevice, checkSevDevice } from './check-devices.ts'
import { checkFirmware } from './check-firmware.ts'
import { checkHugePages, checkReserved, checkSlice } from './check-host-memory.ts'
import { checkInstancesPath } from './check-instances-path.ts'
import { checkIommu, checkKernel, checkModule, checkParameters } from './check-kernel.ts'
import { checkKsm, checkOvercommit, checkPanicOnOom, checkSwap } from './check-kernel-memory.ts'
import { checkKernelKeys, checkKeySplit, checkLibvirtKeys } from './check-keys.ts'
import { checkLibvirt } from './check-libvirt.ts'
import { checkMachine } from './check-machine.ts'
import { checkMemlock } from './check-memlock.ts'
import { checkMemoryForSlots, memorySums, type OfferedSlots } from './check-memory.ts'
import { checkModels, modelsUntold } from './check-models.ts'
import { checkBios, checkEncryptionLeaf, checkProcessor } from './check-processor.ts'
import { checkTools } from './check-tools.ts'
import type { DoctorOptions } from './doctor-options.ts'
import type { ExaminedHost } from './examined-host.ts'
import type { Finding } from './finding.ts'
import { readValue } from './reading.ts'

/** Findings about one part of the way from firmware to worker. */
export interface FindingGroup {
  readonly group: string
  readonly findings: readonly Finding[]
}

/** Everything, from below: what fails first is what to mend first. */
export function diagnose(host: ExaminedHost, wishes: DoctorOptions): readonly FindingGroup[] {
  const detected = capabilitiesOf(host, wishes)
  const slots = detected ? limitSlots(detected, wishes.limits).capabilities.slots : {}
  const options = { ...wishes, offered: modelsOf(slots) }
  const examination = { host, options }
  const memoryMb = memoryOf(host)
  const sums = memorySums(memoryMb ?? 0, slots, options)
  return [
    {
      group: 'processor and BIOS',
      findings: [
        checkProcessor(examination),
        ...checkEncryptionLeaf(examination),
        checkBios(examination),
        checkKeySplit(examination),
      ],
    },
    {
      group: 'kernel',
      findings: [
        checkKernel(examination),
        checkModule(examination),
        ...checkParameters(examination),
        checkIommu(examination),
        checkKernelKeys(examination),
        checkKvmDevice(examination),
        checkSevDevice(examination),
      ],
    },
    {
      group: 'libvirt and QEMU',
      findings: [...checkLibvirt(examination), checkLibvirtKeys(examination), checkMemlock(examination)],
    },
    {
      group: "guests' machine",
      findings: [
        ...checkMachine(examination),
        ...checkFirmware(examination),
        checkTools(examination),
        checkInstancesPath(examination),
      ],
    },
    {
      group: 'memory',
      findings: [
        ...(memoryMb === undefined ? [] : [checkMemoryForSlots(memoryMb, slots, options)]),
        checkReserved(examination),
        checkSlice(examination, sums),
        checkHugePages(examination),
        checkOvercommit(examination, sums),
        checkPanicOnOom(examination),
        checkKsm(examination),
        checkSwap(examination),
      ],
    },
    {
      group: 'what the worker offers',
      findings: detected ? checkModels(detected, options) : modelsUntold('libvirt does not answer'),
    },
  ]
}

/** Of a simulated host: it has no processor and no kernel, but slots, and memory for them. */
export function diagnoseSimulated(
  capabilities: HostCapabilities,
  memoryMb: number,
  wishes: DoctorOptions,
): readonly FindingGroup[] {
  const { slots } = limitSlots(capabilities, wishes.limits).capabilities
  const options = { ...wishes, offered: modelsOf(slots) }
  return [
    { group: 'memory', findings: [checkMemoryForSlots(memoryMb, slots, options)] },
    { group: 'what the worker offers', findings: checkModels(capabilities, options) },
  ]
}

/** As the worker decides them. Undefined: libvirt does not answer. */
function capabilitiesOf(host: ExaminedHost, options: DoctorOptions): HostCapabilities | undefined {
  const { hypervisor, kernel, descriptors } = host
  if (!('documents' in hypervisor)) return undefined
  const { sev, sev_es, sev_snp } = kernel.parameters
  return decideHostCapabilities({
    ...hypervisor,
    kernel: { sev: readValue(sev), sev_es: readValue(sev_es), sev_snp: readValue(sev_snp) },
    descriptors: effectiveDescriptors(descriptors),
    firmwareFiles: options.hostOptions.firmwareFiles,
  })
}

/** By libvirt, which placement goes by; else by the kernel. */
function memoryOf(host: ExaminedHost): number | undefined {
  return 'documents' in host.hypervisor ? host.hypervisor.memoryMb : readValue(host.memory.info)?.totalMb
}

function modelsOf(slots: OfferedSlots): readonly MemEncryptionModel[] {
  return MemEncryptionModel.options.filter((model) => slots[model] !== undefined)
}
