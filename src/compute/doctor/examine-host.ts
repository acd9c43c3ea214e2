import type { DescriptorFile } from '../libvirt/firmware-descriptors.ts'
import { DESCRIPTOR_FOLDERS } from '../libvirt/read-firmware-descriptors.ts'
import { askHypervisor, type HypervisorQuestions } from './ask-hypervisor.ts'
import type { DoctorOptions } from './doctor-options.ts'
import { examineDaemons } from './examine-daemon.ts'
import { examineKeys } from './examine-keys.ts'
import { examineMemory } from './examine-memory.ts'
import { examineEncryptionLeaf, examineProcessor } from './examine-processor.ts'
import { examineTools } from './examine-tools.ts'
import type { ExaminedHost, KernelState } from './examined-host.ts'
import { type HostFiles, parsed, readValue } from './reading.ts'

const KVM_AMD = 'sys/module/kvm_amd'

/** Looks at everything, and judges nothing. Needs no bus and no database, and changes nothing. */
export async function examineHost(
  files: HostFiles,
  libvirt: HypervisorQuestions,
  options: DoctorOptions,
  signal: AbortSignal,
): Promise<ExaminedHost> {
  const hypervisor = await askHypervisor(libvirt, options, signal)
  const [processor, encryptionLeaf, kernel, kvmDevice, sevDevice, keys, memory, descriptors, missing] =
    await Promise.all([
      examineProcessor(files),
      examineEncryptionLeaf(files),
      examineKernel(files),
      files.device('dev/kvm'),
      files.device('dev/sev'),
      examineKeys(files),
      examineMemory(files),
      Promise.all(DESCRIPTOR_FOLDERS.map((folder) => descriptorsIn(files, folder))),
      missingFirmwareFiles(files, options),
    ])
  // Where it is started on demand, it runs since it was asked.
  const [daemons, tools, instancesFolder] = await Promise.all([
    examineDaemons(files),
    examineTools(files, options),
    files.folder(options.instancesPath),
  ])
  return {
    ...{
      processor,
      encryptionLeaf,
      kernel,
      kvmDevice,
      sevDevice,
      keys,
      memory,
      daemons,
      tools,
      instancesFolder,
      descriptors,
      hypervisor,
    },
    missingFirmwareFiles: missing,
  }
}

async function examineKernel(files: HostFiles): Promise<KernelState> {
  const line = async (path: string) => parsed(await files.text(path), path, (text) => text.trim())
  const parameter = (name: string) => line(`${KVM_AMD}/parameters/${name}`)
  const [release, commandLine, kvmAmd, sev, sev_es, sev_snp] = await Promise.all([
    line('proc/sys/kernel/osrelease'),
    line('proc/cmdline'),
    files.names(KVM_AMD),
    parameter('sev'),
    parameter('sev_es'),
    parameter('sev_snp'),
  ])
  return { release, commandLine, kvmAmd, parameters: { sev, sev_es, sev_snp } }
}

async function descriptorsIn(files: HostFiles, folder: string): Promise<readonly DescriptorFile[]> {
  const names = readValue(await files.names(folder)) ?? []
  return await Promise.all(
    names.toSorted().map(async (name) => ({ name, text: readValue(await files.text(`${folder}/${name}`)) ?? '' })),
  )
}

async function missingFirmwareFiles(files: HostFiles, { hostOptions }: DoctorOptions): Promise<readonly string[]> {
  const named = Object.values(hostOptions.firmwareFiles).filter((file): file is string => file !== undefined)
  const found = await Promise.all(named.map(async (file) => ({ file, node: await files.device(file) })))
  return found.flatMap(({ file, node }) => (node.state === 'absent' ? [file] : []))
}
