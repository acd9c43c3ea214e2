import type { GraphicsSpec, NetworkSource, SerialConsoleSpec, VirtType } from './domain-spec.ts'

/** What an operator decides about the domains of a host; the names are Nova's where Nova has the option. */
export interface DomainOptions {
  /** Nova's `instances_path`: one folder per guest. */
  readonly instancesPath: string
  /** `qemu` is for machines without KVM: slow, and nothing is encrypted. */
  readonly virtType: VirtType
  /** Undefined: `host-model` with KVM, else `none`, which is QEMU's own choice. */
  readonly cpuMode: 'host-model' | 'host-passthrough' | 'custom' | 'none' | undefined
  /** Of `custom`. */
  readonly cpuModel: string | undefined
  /** Where guests' interfaces are plugged in; no request chooses it. */
  readonly network: NetworkSource | { readonly kind: 'none' }
  /** Where else interfaces may be plugged in that are attached later: requests name these. */
  readonly attachableNetworks: readonly NetworkSource[]
  /** Folders whose files and block devices guests may be given as volumes: requests name paths in them. */
  readonly volumeFolders: readonly string[]
  /** The display of every guest; undefined: none. */
  readonly graphics: GraphicsSpec | undefined
  /** The serial port of every guest by TCP; undefined: only logged. */
  readonly serialConsole: SerialConsoleSpec | undefined
  /** What proxies reach the consoles of this host by; undefined: where they listen. */
  readonly consoleAddress: string | undefined
  /** What a config drive is: a CD-ROM, or a disk that needs no CD-ROM bus. */
  readonly configDriveFormat: 'iso9660' | 'vfat'
  /** Every guest gets one, whatever its image says. */
  readonly forceConfigDrive: boolean
  /** Bus of CD-ROMs of images that do not say; undefined, as `ide`: IDE, and SATA on q35, which has no IDE. */
  readonly cdromBus: 'sata' | 'scsi' | 'virtio' | 'usb' | 'ide' | undefined
  /** PCIe ports left free on q35 for devices that come later; 0: as libvirt does. */
  readonly numPciePorts: number
  /** How often the balloon tells about the guest's memory; 0: no balloon. */
  readonly memStatsPeriodSeconds: number
  /** UEFI firmware by name, for hosts whose libvirt finds none by its descriptors. */
  readonly firmwareFiles: FirmwareFiles
}

export interface FirmwareFiles {
  /** Code that keeps its variables apart, with what the variables begin as: both, or neither. */
  readonly loader: string | undefined
  readonly nvramTemplate: string | undefined
  /** Code that keeps none: what SEV-SNP needs. */
  readonly statelessLoader: string | undefined
}

export const NO_FIRMWARE_FILES: FirmwareFiles = {
  loader: undefined,
  nvramTemplate: undefined,
  statelessLoader: undefined,
}

export const DEFAULT_DOMAIN_OPTIONS: DomainOptions = {
  instancesPath: '/var/lib/sevbus/instances',
  virtType: 'kvm',
  cpuMode: undefined,
  cpuModel: undefined,
  network: { kind: 'network', network: 'default' },
  attachableNetworks: [],
  volumeFolders: [],
  graphics: undefined,
  serialConsole: undefined,
  consoleAddress: undefined,
  configDriveFormat: 'iso9660',
  forceConfigDrive: false,
  cdromBus: undefined,
  numPciePorts: 0,
  memStatsPeriodSeconds: 10,
  firmwareFiles: NO_FIRMWARE_FILES,
}
