import { z } from 'zod'
import { Senders } from './config-transport.ts'
import { BridgeName, LibvirtNetworkName } from './objects/attached-devices.ts'
import { HostName } from './objects/host-report.ts'
import { ConnectAddress } from './objects/live-migrate-data.ts'

const Seconds = z.number().positive().max(86_400)
const Count = z.int().min(0).max(1_000_000)
const Folder = z.string().startsWith('/', 'write the whole path of a folder').max(1024)
const File = z.string().startsWith('/', 'write the whole path of a file').max(1024)

/** No user and no password: errors and logs may name where an image is fetched from. */
const ImageUrl = z.string().max(2048).refine(isImageUrl, 'write http:// or https://, {id} for the image, and no user')

function isImageUrl(template: string): boolean {
  const example = template.replace('{id}', 'id')
  if (!template.includes('{id}') || !URL.canParse(example)) return false
  const { protocol, username, password } = new URL(example)
  return /^https?:$/.test(protocol) && username + password === ''
}

function isPortRange(text: string): boolean {
  const [first = 0, last = 0] = /^\d{1,5}:\d{1,5}$/.test(text) ? text.split(':').map(Number) : []
  return first >= 1 && first <= last && last <= 65_535
}

/** The section [compute]: a host, and what its operator decides about guests. */
export const ComputeSection = z
  .strictObject({
    /** Users whose requests a compute worker takes, instead of transport.allowed_senders. */
    allowed_senders: Senders.optional(),
    /** This host's name: the name of its queue and of its resource provider. */
    host: HostName.optional(),
    /** `fake` is a simulated host, `libvirt` a real one. */
    driver: z.enum(['fake', 'libvirt']).default('fake'),
    /** Journal and, for the simulated host, its guests. One worker per folder. */
    state_folder: z.string().min(1).optional(),
    /** Guests that start at a time on this host: Nova's option of this name. */
    max_concurrent_builds: z.int().min(1).max(1000).default(10),
    /** How long a guest that is stopped may take to shut down before its power is taken: Nova's shutdown_timeout. */
    shutdown_timeout_seconds: Seconds.max(3600).default(60),
    /** How often all guests are held against their instances, beside the hypervisor's events: Nova's sync_power_state_interval. 0: never. */
    sync_power_state_interval_seconds: z.number().min(0).max(86_400).default(600),
    /** Guests that ran when the host went down are started when it is up again; else their instances are stopped. Nova's option of this name. */
    resume_guests_state_on_host_boot: z.boolean().default(false),
    /** How often the host tells that it lives, and what it offers. */
    report_interval_seconds: Seconds.max(3600).default(10),
    /** Traits of this host that flavors and images may require or forbid (`trait:CUSTOM_SSD=required`). */
    traits: z
      .array(
        z
          .string()
          .regex(/^CUSTOM_[A-Z0-9_]+$/, 'write CUSTOM_ and capitals, digits, _')
          .max(255),
      )
      .max(128)
      .default([]),
    /** Machine type per architecture for images that leave it open, `x86_64=q35`: Nova's option of this name. */
    hw_machine_type: z
      .array(z.string().regex(/^[\w-]+=[\w.-]+$/, 'write architecture=machine type, e.g. x86_64=q35'))
      .default([]),
    /** `qemu` is for machines without KVM: slow, and nothing is encrypted. Nova's option of this name. */
    virt_type: z.enum(['kvm', 'qemu']).default('kvm'),
    /** Processor of the guests; without it host-model with KVM, else none, which is QEMU's own choice. Nova's option of this name. */
    cpu_mode: z.enum(['host-model', 'host-passthrough', 'custom', 'none']).optional(),
    /** The processor of cpu_mode = "custom", by libvirt's name: `EPYC-Milan`. */
    cpu_model: z
      .string()
      .regex(/^[\w.-]+$/)
      .max(255)
      .optional(),
    /** Guests with SEV at most; without it as many as libvirt tells, or no limit where it does not. 0 offers none. */
    num_memory_encrypted_guests: Count.optional(),
    /** The same for SEV-ES, but where libvirt tells no number none is offered without this. */
    num_sev_es_encrypted_guests: Count.optional(),
    /** The same for SEV-SNP, as for SEV-ES. */
    num_sev_snp_encrypted_guests: Count.optional(),
    /** Where guests' disks are, a folder for each: Nova's option of this name. QEMU's user must be able to pass through. */
    instances_path: Folder.default('/var/lib/sevbus/instances'),
    /**
     * A folder that hosts share, mounted alike on all of them, with the instances_path of each below it: between these
     * instances are migrated and resized.
     */
    shared_instances_path: Folder.optional(),
    /**
     * libvirt's URI of the host that a live migration goes to, as the libvirtd of this host reaches it; `%s` is that host.
     * Nothing else is connected to. Nova's option of this name.
     */
    live_migration_uri: z
      .string()
      .regex(/^qemu(\+\w+)?:\/\/[^\s]*%s/, 'write a libvirt URI with %s for the host, e.g. qemu+tls://%s/system')
      .max(2048)
      .default('qemu+tls://%s/system'),
    /** Where other hosts reach this one's libvirtd and QEMU; without it by its name. Nova's option of this name. */
    live_migration_inbound_addr: ConnectAddress.optional(),
    /** QEMU encrypts what it sends, by certificates in /etc/pki/qemu. Nova's option of this name. */
    live_migration_with_native_tls: z.boolean().default(false),
    /** A guest that writes faster than its memory is sent is slowed down. Nova's option of this name. */
    live_migration_permit_auto_converge: z.boolean().default(false),
    /**
     * A live migration that is to be completed by force goes on at its destination before all of its memory is there; without it
     * its guest stands still meanwhile. Nova's option of this name.
     */
    live_migration_permit_post_copy: z.boolean().default(false),
    /** A live migration is given up after so long for each GiB of the guest's memory. Nova's live_migration_completion_timeout. */
    live_migration_completion_timeout_seconds: Seconds.default(800),
    /** Migrate live also on a shared file system that libvirt does not know as one: `virsh migrate --unsafe`. */
    live_migration_unsafe: z.boolean().default(false),
    /** The memory of guests goes by sockets in this folder instead of TCP: for daemons in containers of one machine. */
    live_migration_socket_folder: Folder.optional(),
    /** Images as files, each named by its id, alone or with .qcow2, .raw or .img behind it. Looked into before image_url. */
    image_folder: Folder.optional(),
    /** Images from a web server, `{id}` for the image's: `https://images.example.com/{id}`. No login, no redirects. */
    image_url: ImageUrl.optional(),
    /** GiB of an image at most, as it comes and as the disk in it. */
    image_max_gb: z.number().positive().max(1_000_000).default(100),
    /** What fetching an image may take, unpacking it included; below conductor.build_timeout_seconds. */
    image_timeout_seconds: Seconds.default(540),
    /** GiB of fetched images at most; what guests have stays. Without it as much as there is room. */
    image_cache_max_gb: z.number().min(0).max(1_000_000).optional(),
    /** Fetched images that no guest has had for so long are removed: Nova's remove_unused_original_minimum_age_seconds. */
    image_cache_max_age_seconds: z.number().min(0).max(31_536_000).default(86_400),
    /** libvirt network of the guests' interfaces; `none`: they have none. Without it, and without bridge, `default`. */
    network: LibvirtNetworkName.optional(),
    /** Bridge of the host that guests' interfaces are plugged into, instead of a libvirt network. */
    bridge: BridgeName.optional(),
    /** libvirt networks that interfaces may be attached to besides, by requests that name them. */
    attachable_networks: z.array(LibvirtNetworkName).max(256).default([]),
    /** Bridges of the host, likewise. */
    attachable_bridges: z.array(BridgeName).max(256).default([]),
    /** Folders of this host whose files, or block devices (`/dev/vg-guests`), may be attached as volumes; none, none may. */
    volume_folders: z.array(Folder).max(64).default([]),
    /** A display for every guest; `none`: nobody can look at one. */
    graphics: z.enum(['none', 'vnc', 'spice']).default('none'),
    /** Where displays listen; whoever reaches that sees the guests, for they ask for no password. */
    graphics_listen: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    /** Ports for the serial consoles of guests, one each, `10000:20000`; without it these are only logged. Nova's serial_console.port_range. */
    serial_console_port_range: z
      .string()
      .refine(isPortRange, 'write the first and the last port, e.g. 10000:20000')
      .optional(),
    /** Where they listen; whoever reaches that types as if he sat at the guests, for they ask for no password. */
    serial_console_listen: z.union([z.ipv4(), z.ipv6()]).default('127.0.0.1'),
    /** What proxies reach this host's consoles by; without it where they listen. Nova's server_proxyclient_address. */
    console_address: z.string().min(1).max(255).optional(),
    /** What a config drive is: a CD-ROM, or a virtio disk. Nova's option of this name. */
    config_drive_format: z.enum(['iso9660', 'vfat']).default('iso9660'),
    /** Every guest gets one, not only those whose image has img_config_drive=mandatory. */
    force_config_drive: z.boolean().default(false),
    /** Bus of CD-ROMs of images without hw_cdrom_bus; `ide` is `sata` on q35, which has no IDE. */
    cdrom_bus: z.enum(['sata', 'scsi', 'virtio', 'usb', 'ide']).optional(),
    /** PCIe ports left free on q35 for devices that are attached later; 0: as libvirt does. */
    num_pcie_ports: z.int().min(0).max(28).default(0),
    /** How often the balloon tells about a guest's memory; 0: guests have no balloon. */
    mem_stats_period_seconds: z.int().min(0).max(86_400).default(10),
    /** UEFI code for hosts whose libvirt finds none by descriptors; needs uefi_nvram_template. */
    uefi_loader: z.string().startsWith('/').optional(),
    /** What the variables of a new guest begin as. */
    uefi_nvram_template: z.string().startsWith('/').optional(),
    /** UEFI code that keeps no variables: flash for stateless guests, a ROM for SEV-SNP. */
    uefi_stateless_loader: z.string().startsWith('/').optional(),
    /** MiB kept for the host itself; pinned guests cannot be swapped out. */
    reserved_host_memory_mb: Count.default(512),
    /** VCPUs offered per CPU. */
    cpu_allocation_ratio: z.number().positive().max(64).default(4),
    /** Memory offered per memory; what encrypted guests pin is never lent out twice. */
    ram_allocation_ratio: z.number().positive().max(64).default(1),
    /** Disk offered per disk. */
    disk_allocation_ratio: z.number().positive().max(64).default(1),
  })
  .refine(
    ({ shared_instances_path: shared, instances_path: own }) => shared === undefined || own.startsWith(`${shared}/`),
    {
      path: ['instances_path'],
      message:
        'must be a folder of this host alone below compute.shared_instances_path: <shared_instances_path>/<name of the host>',
    },
  )
  .refine((compute) => (compute.cpu_mode === 'custom') === (compute.cpu_model !== undefined), {
    path: ['cpu_model'],
    message: 'belongs to compute.cpu_mode = "custom": set both, or neither',
  })
  .refine((compute) => compute.network === undefined || compute.bridge === undefined, {
    path: ['bridge'],
    message: 'is instead of compute.network: set one of them',
  })
  .refine((compute) => (compute.uefi_loader === undefined) === (compute.uefi_nvram_template === undefined), {
    path: ['uefi_nvram_template'],
    message: 'belongs to compute.uefi_loader: set both, or neither',
  })

/** The section [libvirt]: the real host (`compute.driver = "libvirt"`). */
export const LibvirtSection = z.strictObject({
  /** Of libvirtd or virtqemud: `qemu:///system`, `qemu+tls://host/system`; what connects is this worker, not libvirt's library. */
  uri: z
    .string()
    .regex(/^qemu(\+\w+)?:\/\//, 'write a libvirt URI, e.g. qemu:///system')
    .max(2048)
    .default('qemu:///system'),
  /** Where `/sys`, `/etc/qemu` and `/usr/share/qemu` of libvirt's machine are: `/proc/<pid>/root` when it runs in a container. */
  host_root: Folder.default('/'),
  /** How long libvirt may take to define, start or stop a guest. */
  control_timeout_seconds: Seconds.default(300),
  /** How long it may take to answer a question. */
  query_timeout_seconds: Seconds.default(30),
  /** Who signed the daemon's certificate, for qemu+tls. */
  ca_file: File.default('/etc/pki/CA/cacert.pem'),
  /** Our own certificate. */
  cert_file: File.default('/etc/pki/libvirt/clientcert.pem'),
  /** Its key. */
  key_file: File.default('/etc/pki/libvirt/private/clientkey.pem'),
})

/** The section [fake]: the simulated host (`compute.driver = "fake"`). */
export const FakeSection = z.strictObject({
  /** CPUs of the simulated machine. */
  vcpus: z.int().min(1).max(100_000).default(64),
  /** Its memory in MiB. */
  memory_mb: z
    .int()
    .min(1024)
    .max(1 << 30)
    .default(262_144),
  /** Its disk in GiB. */
  disk_gb: z
    .int()
    .min(1)
    .max(1 << 20)
    .default(2000),
  /** Encryption keys for SEV guests; 0: the host has no SEV. */
  sev_slots: Count.default(0),
  /** Keys that the BIOS sets aside for SEV-ES. */
  sev_es_slots: Count.default(0),
  /** The same keys with the kernel in SNP mode, which switches SEV-ES off. */
  sev_snp_slots: Count.default(0),
  /** Machine type of images that leave it open. */
  default_machine_type: z.enum(['q35', 'pc']).default('q35'),
  /** How long a guest takes to start, in milliseconds. */
  spawn_delay_ms: Count.default(0),
  /** How long one takes to shut down when it is asked to, in milliseconds. */
  shutdown_delay_ms: Count.default(0),
})
