import type { MemEncryption } from '../../objects/mem-encryption.ts'

/** In a guest's folder: what it writes to its serial port. */
export const CONSOLE_LOG = 'console.log'
/** There, too: what it boots from while it is rescued. */
export const RESCUE_DISK = 'disk.rescue'

/** A libvirt domain as a value: what `domain-xml.ts` writes down and configurators build up. Never changed in place. */
export interface DomainSpec {
  readonly uuid: string
  /** libvirt's own name, unique on a host; the instance's name is in the metadata. */
  readonly name: string
  readonly metadata: DomainMetadata
  /** libvirt's domain type: `kvm` runs on the processor, `qemu` is QEMU's emulation of one. */
  readonly virtType: VirtType
  /** Undefined: QEMU's default for the machine. */
  readonly cpu: CpuSpec | undefined
  readonly memoryMib: number
  readonly memoryBacking: MemoryBackingSpec
  readonly vcpus: number
  readonly os: OsSpec
  /** A fw_cfg device through which crash dumps find their notes. */
  readonly vmcoreinfo: boolean
  readonly disks: readonly DiskSpec[]
  readonly filesystems: readonly FilesystemSpec[]
  readonly controllers: readonly ControllerSpec[]
  readonly interfaces: readonly InterfaceSpec[]
  readonly inputs: readonly InputSpec[]
  readonly serial: SerialSpec
  /** Where the guest's agent answers; needs a virtio-serial controller. */
  readonly guestAgent: boolean
  /** Undefined: nobody can look at it. */
  readonly graphics: GraphicsSpec | undefined
  /** Undefined: none. */
  readonly video: VideoSpec | undefined
  /** Undefined: none; libvirt would add one by itself, so it is told. */
  readonly memballoon: MemballoonSpec | undefined
  readonly rng: RngSpec | undefined
  readonly vsock: VsockSpec | undefined
  readonly launchSecurity: LaunchSecurity | undefined
}

export type VirtType = 'kvm' | 'qemu'

export type CpuSpec =
  /** `host-model`: libvirt's nearest to the host's; `host-passthrough`: the host's own. */
  | { readonly mode: 'host-model' | 'host-passthrough' }
  /** One by name: `EPYC-Milan`. */
  | { readonly mode: 'custom'; readonly model: string }

export interface MemoryBackingSpec {
  /** `<locked/>`: no page of the guest is ever swapped or moved. */
  readonly locked: boolean
  /** Pages of this size; `default` is the host's. Undefined: ordinary pages. */
  readonly hugepages: 'default' | { readonly kib: number } | undefined
  /** Another process serves a device out of the guest's memory (vhost-user, virtiofs), and must see it. */
  readonly shared: boolean
}

export interface OsSpec {
  readonly arch: string
  /** As libvirt takes it: an alias (`q35`) or a versioned name (`pc-q35-7.2`). */
  readonly machine: string
  readonly firmware: FirmwareSpec
}

export type FirmwareSpec =
  | { readonly kind: 'bios' }
  /** libvirt picks the files by their descriptors. `stateless`: it measures the same at every boot, for it keeps nothing. */
  | { readonly kind: 'efi'; readonly stateless: boolean }
  /** Files by name, where libvirt cannot pick; without `nvram` it is stateless. */
  | { readonly kind: 'files'; readonly loader: string; readonly nvram: NvramSpec | undefined }
  /** A file by name that is copied into the guest's memory, and so keeps nothing. */
  | { readonly kind: 'rom'; readonly loader: string }

export interface NvramSpec {
  /** The guest's own variables. */
  readonly file: string
  /** What they begin with. */
  readonly template: string
}

/** A device that may carry `<driver iommu='on'>`: the guest's DMA for it goes through shared bounce buffers. */
export interface VirtioDevice {
  readonly iommu: boolean
}

export type DiskBus = 'virtio' | 'scsi' | 'sata' | 'ide' | 'usb'

export interface DiskSpec extends VirtioDevice {
  /** `rescue` is booted from, in place of `root`. */
  readonly role: 'root' | 'rescue' | 'ephemeral' | 'swap' | 'config drive' | 'volume'
  readonly device: 'disk' | 'cdrom'
  readonly format: 'qcow2' | 'raw'
  readonly file: string
  /** Of a root disk that is not booted from; 1 without it. */
  readonly bootOrder?: number
  /** As the guest reads it from the disk. */
  readonly serial?: string
  readonly bus: DiskBus
  /** `vda`, `sda`: unique in the guest; its first letters follow the bus. */
  readonly target: string
  /** For whoever makes the file; libvirt does not ask. 0: it makes itself as large as it must be. */
  readonly sizeMib: number
}

/** A folder of the host, by virtiofs. */
export interface FilesystemSpec extends VirtioDevice {
  readonly folder: string
  /** The name by which the guest mounts it. */
  readonly tag: string
}

export interface ControllerSpec extends VirtioDevice {
  readonly type: 'scsi' | 'virtio-serial' | 'pci'
  readonly index: number
  /** SCSI and PCI only. */
  readonly model?: string
}

/** How a virtual NIC reaches the host. */
export type InterfaceSource = NetworkSource | VhostUserSource

/** A network that libvirt keeps, or a bridge of the host. */
export type NetworkSource =
  | { readonly kind: 'network'; readonly network: string }
  | { readonly kind: 'bridge'; readonly bridge: string }

/** A switch in user space that reads the guest's memory: no device of the host, so encrypted guests may have it. */
interface VhostUserSource {
  readonly kind: 'vhostuser'
  readonly socket: string
  readonly mode: 'server' | 'client'
}

/** A vhost-user switch speaks virtio only: QEMU refuses any other card before it. */
export type InterfaceSpec = VirtioDevice & { readonly mac: string } & (
    | { readonly source: NetworkSource; readonly model: string }
    | { readonly source: VhostUserSource; readonly model: 'virtio' }
  )

export interface InputSpec extends VirtioDevice {
  readonly type: 'tablet' | 'keyboard'
  readonly bus: 'usb' | 'virtio'
}

/** The guest's first serial port: what it writes there is kept. */
export interface SerialSpec {
  readonly logFile: string
  /** It is reached by TCP, too; undefined: it is only logged. */
  readonly tcp?: SerialConsoleSpec | undefined
}

export interface SerialConsoleSpec {
  /** Address of the host. */
  readonly listen: string
  /** Ports that guests get: the first and the last. */
  readonly ports: readonly [number, number]
  /** That of this guest; undefined: not given out yet. */
  readonly port?: number
}

/** A display of the guest, on a port that libvirt chooses. */
export interface GraphicsSpec {
  readonly type: 'vnc' | 'spice'
  /** Address of the host. */
  readonly listen: string
}

export interface VideoSpec extends VirtioDevice {
  readonly model: string
}

export interface MemballoonSpec extends VirtioDevice {
  readonly statsPeriodSeconds: number
}

export interface RngSpec extends VirtioDevice {
  readonly source: string
  /** So many bytes in so many milliseconds at most. */
  readonly rate: { readonly bytes: number; readonly periodMs: number } | undefined
}

export interface VsockSpec extends VirtioDevice {
  /** Undefined: libvirt chooses one that is free. */
  readonly cid: number | undefined
}

export interface LaunchSecurity {
  readonly type: 'sev' | 'sev-snp'
  readonly policy: string
  /** Undefined: libvirt fills in the host's. */
  readonly cbitpos: number | undefined
  readonly reducedPhysBits: number | undefined
}

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
  /** SHA-256 of the document without this: libvirt adds to what it is given, so that two documents cannot be compared. */
  readonly sha256: string | undefined
}
