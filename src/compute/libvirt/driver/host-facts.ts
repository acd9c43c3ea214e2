import { type DomainCapabilities, parseDomainCapabilities } from '../domain-capabilities.ts'
import type { FirmwareFiles } from '../domain-options.ts'
import type { VirtType } from '../domain-spec.ts'
import { effectiveDescriptors } from '../firmware-descriptors.ts'
import type { HostFacts } from '../host-capabilities.ts'
import { readKernelParameters } from '../kernel-parameters.ts'
import {
  type LibvirtCapabilities,
  machineTypesOf,
  machineTypesOfInterest,
  parseLibvirtCapabilities,
} from '../libvirt-capabilities.ts'
import { readDescriptorFiles } from '../read-firmware-descriptors.ts'
import { remembered } from '../remembered.ts'
import type { Libvirt } from '../rpc/libvirt.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'

/** A host is asked for each of its reports, so that a change is seen; its documents are long, and almost always the same. */
const capabilitiesIn = remembered(parseLibvirtCapabilities)
const domainCapabilitiesIn = remembered(parseDomainCapabilities)

/** What the operator says about a host, and where its files are. */
export interface HostOptions {
  readonly virtType: VirtType
  /** Nova's `hw_machine_type`; undefined: as QEMU has it. */
  readonly machineTypeOf: (arch: string) => string | undefined
  readonly firmwareFiles: FirmwareFiles
  /** Where `sys`, `etc/qemu` and `usr/share/qemu` of libvirt's machine are. */
  readonly root: string
}

/** What libvirt alone tells of a host. */
export type LibvirtAnswers = Pick<HostFacts, 'arch' | 'defaultMachineType' | 'machineTypes' | 'documents'>

type Questions = Pick<Libvirt, 'connectGetCapabilities' | 'connectGetDomainCapabilities'>

/** Asks libvirt, the kernel and the firmware's descriptors; decides nothing. */
export async function readHostFacts(libvirt: Questions, options: HostOptions, signal: AbortSignal): Promise<HostFacts> {
  const [answers, kernel, descriptors] = await Promise.all([
    askLibvirt(libvirt, options, signal),
    readKernelParameters(options.root),
    readDescriptorFiles(options.root),
  ])
  return {
    ...answers,
    kernel,
    descriptors: effectiveDescriptors(descriptors),
    firmwareFiles: options.firmwareFiles,
  }
}

/** @throws LibvirtError, HypervisorUnavailable, HypervisorTimeout, InvalidDomainXml */
export async function askLibvirt(
  libvirt: Questions,
  options: HostOptions,
  signal: AbortSignal,
): Promise<LibvirtAnswers> {
  const capabilities = await askForQemu(libvirt, signal)
  const arch = capabilities.arch ?? 'unknown'
  const defaultMachineType = options.machineTypeOf(arch) ?? machineOfQemu(capabilities, arch)
  const machines = machineTypesOfInterest(capabilities, arch, defaultMachineType)
  const documents = await Promise.all(
    machines.map((machine) => askAbout(libvirt, { arch, machine, virttype: options.virtType }, signal)),
  )
  return {
    arch,
    defaultMachineType,
    machineTypes: machineTypesOf(capabilities, arch),
    documents: documents.filter((document) => document !== undefined),
  }
}

/**
 * A QEMU that libvirt could not talk to when it looked what that can do is left out of its answer, and no error told: a host without
 * QEMU looks alike. It looks again for the next question, so it is asked once more. Seen of libvirt 9.0.
 */
async function askForQemu(libvirt: Questions, signal: AbortSignal): Promise<LibvirtCapabilities> {
  const ask = async () => capabilitiesIn(await libvirt.connectGetCapabilities({ signal }))
  const first = await ask()
  const hasQemu = first.arch === undefined || machineTypesOf(first, first.arch).length > 0
  return hasQemu ? first : await ask()
}

/** QEMU's default for x86 is `pc`, until it has none any more. */
function machineOfQemu(capabilities: LibvirtCapabilities, arch: string): string {
  const names = machineTypesOf(capabilities, arch)
  return ['pc', 'q35', 'virt'].find((name) => names.includes(name)) ?? names[0] ?? 'unknown'
}

/** A machine type that QEMU cannot have with this kind of guest says nothing; the others do. */
async function askAbout(
  libvirt: Questions,
  of: Parameters<Libvirt['connectGetDomainCapabilities']>[0],
  signal: AbortSignal,
): Promise<DomainCapabilities | undefined> {
  try {
    return domainCapabilitiesIn(await libvirt.connectGetDomainCapabilities(of, { signal }))
  } catch (error) {
    if (REFUSALS.some((code) => isLibvirtError(error, code))) return undefined
    throw error
  }
}

/** The machine type is not this emulator's, or there is no emulator for such guests (no KVM). */
const REFUSALS = [VIR_ERR.configUnsupported, VIR_ERR.invalidArg] as const
