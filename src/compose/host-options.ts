import type { DiskOptions } from '../compute/disks/open-guest-disks.ts'
import { DEFAULT_DOMAIN_OPTIONS, type DomainOptions } from '../compute/libvirt/domain-options.ts'
import type { HostOptions } from '../compute/libvirt/driver/host-facts.ts'
import type { LiveMigrationOptions } from '../compute/libvirt/driver/live-migration.ts'
import type { SlotLimits } from '../compute/libvirt/slot-limits.ts'
import type { Config } from '../config.ts'

const BYTES_PER_GIB = 1024 ** 3

type ComputeSection = Config['compute']

/** What the operator says about a real host. */
export function hostOptions({ compute, libvirt }: Pick<Config, 'compute' | 'libvirt'>): HostOptions {
  const { virtType, firmwareFiles } = domainOptions(compute)
  return {
    virtType,
    firmwareFiles,
    machineTypeOf: (arch) => defaultMachineType(compute, arch),
    root: libvirt.host_root,
  }
}

export function domainOptions(compute: ComputeSection): DomainOptions {
  return {
    ...DEFAULT_DOMAIN_OPTIONS,
    virtType: compute.virt_type,
    cpuMode: compute.cpu_mode,
    cpuModel: compute.cpu_model,
    instancesPath: compute.instances_path,
    network: guestNetwork(compute),
    attachableNetworks: [
      ...compute.attachable_networks.map((network) => ({ kind: 'network', network }) as const),
      ...compute.attachable_bridges.map((bridge) => ({ kind: 'bridge', bridge }) as const),
    ],
    volumeFolders: compute.volume_folders,
    graphics: compute.graphics === 'none' ? undefined : { type: compute.graphics, listen: compute.graphics_listen },
    serialConsole: serialConsole(compute),
    consoleAddress: compute.console_address,
    configDriveFormat: compute.config_drive_format,
    forceConfigDrive: compute.force_config_drive,
    cdromBus: compute.cdrom_bus,
    numPciePorts: compute.num_pcie_ports,
    memStatsPeriodSeconds: compute.mem_stats_period_seconds,
    firmwareFiles: {
      loader: compute.uefi_loader,
      nvramTemplate: compute.uefi_nvram_template,
      statelessLoader: compute.uefi_stateless_loader,
    },
  }
}

function serialConsole({ serial_console_port_range: range, serial_console_listen: listen }: ComputeSection) {
  if (range === undefined) return undefined
  const [first, last] = range.split(':').map(Number) as [number, number]
  return { listen, ports: [first, last] } as const
}

/** How guests go to other hosts as they run. */
export function liveMigrationOptions(compute: ComputeSection): LiveMigrationOptions {
  return {
    uri: compute.live_migration_uri,
    inboundAddr: compute.live_migration_inbound_addr,
    socketFolder: compute.live_migration_socket_folder,
    withNativeTls: compute.live_migration_with_native_tls,
    permitAutoConverge: compute.live_migration_permit_auto_converge,
    permitPostCopy: compute.live_migration_permit_post_copy,
    unsafe: compute.live_migration_unsafe,
    completionTimeoutMsPerGib: compute.live_migration_completion_timeout_seconds * 1000,
    graphicsListen: compute.graphics === 'none' ? undefined : compute.graphics_listen,
  }
}

/** `none` is no network's name: it says that guests have no interfaces. */
export function guestNetwork({ network = 'default', bridge }: Pick<ComputeSection, 'network' | 'bridge'>) {
  if (bridge !== undefined) return { kind: 'bridge', bridge } as const
  return network === 'none' ? ({ kind: 'none' } as const) : ({ kind: 'network', network } as const)
}

/** Where images are and guests' disks go. */
export function diskOptions(compute: ComputeSection): DiskOptions {
  return {
    instancesPath: compute.instances_path,
    sharedPath: compute.shared_instances_path,
    imageFolder: compute.image_folder,
    imageUrl: compute.image_url,
    imageMaxBytes: compute.image_max_gb * BYTES_PER_GIB,
    imageTimeoutMs: compute.image_timeout_seconds * 1000,
    cacheMaxAgeMs: compute.image_cache_max_age_seconds * 1000,
    cacheMaxBytes: (compute.image_cache_max_gb ?? Number.POSITIVE_INFINITY) * BYTES_PER_GIB,
  }
}

export function slotLimits(compute: ComputeSection): SlotLimits {
  return {
    'amd-sev': compute.num_memory_encrypted_guests,
    'amd-sev-es': compute.num_sev_es_encrypted_guests,
    'amd-sev-snp': compute.num_sev_snp_encrypted_guests,
  }
}

/** Of `hw_machine_type`, whose later entries win as in Nova. */
export function defaultMachineType({ hw_machine_type }: ComputeSection, arch: string): string | undefined {
  return hw_machine_type.findLast((entry) => entry.startsWith(`${arch}=`))?.slice(arch.length + 1)
}
