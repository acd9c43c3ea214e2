import type { DescriptorFile } from '../libvirt/firmware-descriptors.ts'
import type { HypervisorAnswers, HypervisorSilence } from './ask-hypervisor.ts'
import type { EncryptionLeaf } from './encryption-leaf.ts'
import type { DaemonLimits } from './examine-daemon.ts'
import type { KernelKeys } from './examine-keys.ts'
import type { MemoryState } from './examine-memory.ts'
import type { Processor } from './examine-processor.ts'
import type { NeededTool } from './examine-tools.ts'
import type { FolderState } from './look-at-folder.ts'
import type { DeviceNode, Reading } from './reading.ts'

/** All that was seen of a host. */
export interface ExaminedHost {
  readonly processor: Reading<Processor>
  /** The value undefined: the processor has no such leaf. */
  readonly encryptionLeaf: Reading<EncryptionLeaf | undefined>
  readonly kernel: KernelState
  readonly kvmDevice: Reading<DeviceNode>
  readonly sevDevice: Reading<DeviceNode>
  /** As the kernel's misc controller counts them. */
  readonly keys: Reading<KernelKeys>
  readonly memory: MemoryState
  readonly daemons: Reading<readonly DaemonLimits[]>
  /** Highest rank first. */
  readonly descriptors: readonly (readonly DescriptorFile[])[]
  readonly tools: readonly NeededTool[]
  readonly instancesFolder: Reading<FolderState>
  /** Of the files that the operator names, those that are not there. */
  readonly missingFirmwareFiles: readonly string[]
  readonly hypervisor: HypervisorAnswers | HypervisorSilence
}

export interface KernelState {
  readonly release: Reading<string>
  readonly commandLine: Reading<string>
  readonly kvmAmd: Reading<readonly string[]>
  readonly parameters: Readonly<Record<'sev' | 'sev_es' | 'sev_snp', Reading<string>>>
}
