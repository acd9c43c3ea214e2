import type { MemEncryption } from '../../objects/mem-encryption.ts'

/** A libvirt domain as a value: what `domain-xml.ts` writes down and configurators build up. Never changed in place. */
export interface DomainSpec {
  readonly uuid: string
  /** libvirt's own name, unique on a host; the instance's name is in the metadata. */
  readonly name: string
  readonly metadata: DomainMetadata
  readonly memoryMib: number
  readonly vcpus: number
  /** `<memoryBacking><locked/>`: no page of the guest is ever swapped or moved. */
  readonly memoryLocked: boolean
  readonly os: OsSpec
  /** A fw_cfg device through which crash dumps find their notes. */
  readonly vmcoreinfo: boolean
  readonly disks: readonly DiskSpec[]
  readonly controllers: readonly ControllerSpec[]
  readonly interfaces: readonly InterfaceSpec[]
  readonly serial: { readonly logFile: string }
  /** Where the guest's agent answers; needs a virtio-serial controller. */
  readonly guestAgent: boolean
  readonly video: VideoSpec
  readonly memballoon: VirtioDevice & { readonly statsPeriodSeconds: number }
  readonly rng: VirtioDevice & { readonly source: string }
  readonly launchSecurity: LaunchSecurity | undefined
}

export interface OsSpec {
  readonly arch: string
  /** As libvirt takes it: an alias (`q35`) or a versioned name (`pc-q35-7.2`). */
  readonly machine: string
  readonly firmware: 'bios' | 'efi'
  /** No variables are kept: the firmware is the same, and measures the same, at every boot. */
  readonly stateless: boolean
}

/** A device that may carry `<driver iommu='on'>`: the guest's DMA for it goes through shared bounce buffers. */
export interface VirtioDevice {
  readonly iommu: boolean
}

export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide' | 'usb'

export interface DiskSpec extends VirtioDevice {
  readonly role: 'root' | 'ephemeral' | 'swap'
  readonly file: string
  readonly bus: DiskBus
  /** `vda`, `sda`: unique in the guest; its first letters follow the bus. */
  readonly target: string
  /** For whoever makes the file; libvirt does not ask. */
  readonly sizeMib: number
}

export interface ControllerSpec extends VirtioDevice {
  readonly type: 'scsi' | 'virtio-serial'
  readonly index: number
  /** SCSI only. */
  readonly model?: string
}

export interface InterfaceSpec extends VirtioDevice {
  readonly mac: string
  readonly network: string
  readonly model: 'virtio'
}

export interface VideoSpec extends VirtioDevice {
  readonly model: string
}

export type LaunchSecurity =
  | {
      readonly type: 'sev'
      readonly policy: string
      readonly cbitpos: number | undefined
      readonly reducedPhysBits: number | undefined
    }
  | { readonly type: 'sev-snp'; readonly policy: string }

/** Who and what the guest is, for whoever looks at the host and not at us. */
export interface DomainMetadata {
  readonly instanceName: string
  readonly flavorName: string
  readonly imageId: string | undefined
  readonly imageName: string | undefined
  readonly projectId: string | undefined
  readonly userId: string | undefined
  /** What the guest really runs with, which the flavor alone does not tell. */
  readonly encryption: MemEncryption | undefined
}
