import { HypervisorUnavailable } from '../../../src/errors.ts'
import { capabilitiesXml, WITH_SNP } from './domain-capabilities.ts'
import { aDescriptor } from './firmware-descriptors.ts'
import type { RecordedHost } from './recorded-host.ts'

const KIB_PER_GIB = 1024 ** 2
const LEAVES = 0x8000_0000
const ENCRYPTION = 0x8000_001f
/** SME, SEV, page flush MSR, SEV-ES, SEV-SNP, VMPL. */
const MILAN_FEATURES = 0b11_1111
const ALL_MODELS = ['amd-sev', 'amd-sev-es', 'amd-sev-snp']

const MISC = (minor: number) => ({ isCharacter: true, major: 10, minor, mode: '0660' })

/** Registers of a processor whose C-bit is 51 and costs five address bits. */
export function keysOf(ecx: number, edx: number, features = MILAN_FEATURES): RecordedHost['cpuid'] {
  return { [LEAVES]: [0x8000_0023, 0, 0, 0], [ENCRYPTION]: [features, (5 << 6) | 51, ecx, edx] }
}

/** Leaf 0x8000001F is beyond the last one of the processor: what it then says is of no leaf. */
export const WITHOUT_ENCRYPTION = { [LEAVES]: [0x8000_0008, 0, 0, 0], [ENCRYPTION]: [7, 7, 7, 7] } as const

export interface LibvirtAnswers {
  readonly version?: number
  readonly qemu?: number
  /** Of `<sev>`: keys; undefined: SEV is not supported. */
  readonly keys?: readonly [sev: number, es: number] | undefined
  readonly hasSnp?: boolean
  readonly runningGuests?: number
  readonly cbitpos?: number
  readonly network?: boolean | Error
  readonly disks?: readonly string[]
}

export function libvirtSaying(answers: LibvirtAnswers = {}): RecordedHost['libvirt'] {
  const { version = 11_003_000, qemu = 10_000_002, hasSnp = true, runningGuests = 0, cbitpos = 51 } = answers
  const keys = 'keys' in answers ? answers.keys : ([754, 252] as const)
  const sev = keys
    ? `<sev supported='yes'><cbitpos>${cbitpos}</cbitpos><reducedPhysBits>5</reducedPhysBits><maxGuests>${keys[0]}</maxGuests><maxESGuests>${keys[1]}</maxESGuests></sev>`
    : "<sev supported='no'/>"
  const types = hasSnp
    ? WITH_SNP
    : "<launchSecurity supported='yes'><enum name='sectype'><value>sev</value></enum></launchSecurity>"
  const { disks = ['scsi', 'virtio'] } = answers
  const buses = disks.map((bus) => `<value>${bus}</value>`).join('')
  const devices = `<devices><disk supported='yes'><enum name='bus'>${buses}</enum></disk></devices><features>`
  const document = capabilitiesXml({ machine: 'pc-q35-10.0', sev, launchSecurity: types }).replace(
    '<features>',
    devices,
  )
  return {
    versions: async () => ({ libvirt: version, hypervisor: qemu }),
    connectGetCapabilities: async () => CAPABILITIES,
    connectGetDomainCapabilities: async () => document,
    nodeGetInfo: async () => NODE,
    networkIsActive: async () => {
      const { network = true } = answers
      if (network instanceof Error) throw network
      return network
    },
    connectGetAllDomainStates: async () =>
      Array.from({ length: runningGuests }, (_, n) => ({
        uuid: `${n}`,
        name: `${n}`,
        state: 'running',
        reason: 'booted',
      })),
  }
}

const NODE = {
  model: 'x86_64',
  memoryKib: BigInt(512 * KIB_PER_GIB),
  cpus: 128,
  mhz: 2450,
  nodes: 1,
  sockets: 1,
  cores: 64,
  threads: 2,
}

const CAPABILITIES = `<capabilities><host><cpu><arch>x86_64</arch></cpu></host><guest><os_type>hvm</os_type>
  <arch name='x86_64'><machine>pc-q35-10.0</machine><machine canonical='pc-q35-10.0'>q35</machine>
  <domain type='qemu'/><domain type='kvm'/></arch></guest></capabilities>`

export const SILENT_LIBVIRT: RecordedHost['libvirt'] = {
  ...libvirtSaying(),
  connectGetCapabilities: async () => {
    throw new HypervisorUnavailable('libvirt cannot be reached: connect ENOENT', { fix: 'start libvirtd' })
  },
}

/** An EPYC of the third generation that is set up for SEV and SEV-ES as docs/operators.md says. */
export function milan(changes: Partial<RecordedHost> = {}): RecordedHost {
  return {
    cpuid: keysOf(1006, 253),
    devices: { 'dev/kvm': MISC(232), 'dev/sev': MISC(124) },
    libvirt: libvirtSaying(),
    ...changes,
    files: { ...MILAN_FILES, ...changes.files },
  }
}

const MILAN_FILES: RecordedHost['files'] = {
  'proc/cpuinfo': `processor\t: 0
vendor_id\t: AuthenticAMD
cpu family\t: 25
model\t\t: 1
model name\t: AMD EPYC 7763 64-Core Processor
flags\t\t: fpu vme svm sme sev sev_es sev_snp
`,
  'proc/sys/kernel/osrelease': '6.12.9\n',
  'proc/cmdline': 'BOOT_IMAGE=/vmlinuz root=/dev/sda1\n',
  'proc/meminfo': `MemTotal:       ${512 * KIB_PER_GIB} kB
MemFree:        ${500 * KIB_PER_GIB} kB
MemAvailable:   ${509 * KIB_PER_GIB} kB
CommitLimit:    ${256 * KIB_PER_GIB} kB
Hugetlb:               0 kB
`,
  'proc/swaps': 'Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n',
  'proc/sys/vm/overcommit_memory': '0\n',
  'proc/sys/vm/panic_on_oom': '0\n',
  'proc/741/comm': 'libvirtd\n',
  'proc/741/limits': 'Max locked memory         8388608              8388608              bytes     \n',
  'proc/741/status': 'Name:\tlibvirtd\nCapEff:\t000001ffffffffff\n',
  'proc/741/uid_map': '         0          0 4294967295\n',
  'proc/1/comm': 'systemd\n',
  'sys/module/kvm_amd/parameters/sev': 'Y\n',
  'sys/module/kvm_amd/parameters/sev_es': 'Y\n',
  'sys/module/kvm_amd/parameters/sev_snp': 'N\n',
  'sys/module/zswap/parameters/enabled': 'N\n',
  'sys/kernel/mm/ksm/run': '0\n',
  'sys/fs/cgroup/misc.capacity': 'sev 754\nsev_es 252\n',
  'sys/fs/cgroup/misc.current': 'sev 0\nsev_es 0\n',
  'sys/fs/cgroup/machine.slice/memory.max': `${(520_192 * 1024 ** 2).toString()}\n`,
  'sys/fs/cgroup/machine.slice/memory.high': `${(519_168 * 1024 ** 2).toString()}\n`,
  'usr/share/qemu/firmware/60-ovmf-amdsev.json': aDescriptor(ALL_MODELS, { mapping: { device: 'memory' } }),
}

/** A virtual machine on an Intel processor, without a libvirt. */
export function intel(): RecordedHost {
  return {
    cpuid: WITHOUT_ENCRYPTION,
    devices: { 'dev/kvm': MISC(232) },
    libvirt: SILENT_LIBVIRT,
    files: {
      ...Object.fromEntries(Object.entries(MILAN_FILES).filter(([path]) => !/kvm_amd|misc|machine\.slice/.test(path))),
      'proc/cpuinfo': `vendor_id\t: GenuineIntel
cpu family\t: 6
model name\t: Intel(R) Xeon(R) Processor
flags\t\t: fpu vmx hypervisor
`,
    },
  }
}
