import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { access, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServerHome } from '../../src/servers/server-home.ts'
import { EmulatedSev, type SevSettings, writeHostView, writeKernelParameters } from './emulated-sev.ts'
import { type HaltingFirmware, writeHaltingFirmware } from './halting-firmware.ts'
import { findProgram, mayUseKvm } from './hypervisor.ts'
import { PrivateMachine, type Process } from './private-machine.ts'
import { type Virsh, virshOn } from './virsh.ts'

/**
 * An ordinary user has a session daemon, for root in a user namespace cannot do what a system daemon does: so libvirtd is
 * an ordinary user there, too, and finds what is its own where a system daemon would.
 */
const isRoot = process.getuid?.() === 0
const AS_ORDINARY_USER = ['unshare', '--user', '--map-user=1000', '--map-group=1000']
const SESSION_FOLDERS = {
  XDG_RUNTIME_DIR: '/run',
  XDG_CONFIG_HOME: '/etc',
  XDG_DATA_HOME: '/var/lib',
  XDG_CACHE_HOME: '/var/cache',
}

export interface StartLibvirtOptions {
  /** Host name; also part of what tells hosts apart in messages. */
  readonly name?: string
  /** With the emulated secure processor. */
  readonly sev?: SevSettings
  /** What libvirt finds for guests with UEFI: one that halts and costs nothing, or what the machine has (OVMF). */
  readonly uefi?: 'halting' | 'distribution'
  /** As whom QEMU runs under a system daemon: the user of the distribution's package, or root. */
  readonly qemuUser?: 'distribution' | 'root'
  /** Lines for libvirtd.conf and qemu.conf, after our own. */
  readonly libvirtdConf?: string
  readonly qemuConf?: string
}

/** A libvirt of our own: system daemon, its QEMUs, its files, on a machine of its own. */
export interface PrivateLibvirt {
  readonly name: string
  /** `qemu+unix:///system?socket=…`; of an ordinary user `qemu+unix:///session?socket=…`. */
  readonly uri: string
  readonly socket: string
  /** All its files are below; also a place for disks that QEMU can reach. */
  readonly folder: string
  /** Stands in for `/` where a worker reads what its host has: firmware descriptors, and on SEV hosts parameters and keys. */
  readonly root: string
  readonly firmware: HaltingFirmware
  /** Undefined: it has none. */
  readonly sev: EmulatedSev | undefined
  /** `kvm`, or `qemu` where the machine has no /dev/kvm. */
  readonly virtType: 'kvm' | 'qemu'
  /** For its guests: any KVM has that. */
  readonly cpuMode: 'none'
  readonly virsh: Virsh
  /** Runs a program on its machine: `ip link add br0 type bridge`. */
  run(program: string, ...args: readonly string[]): Promise<string>
  /** QEMU's process of a guest, by its UUID; undefined: none runs. */
  guestProcess(uuid: string): Promise<Process | undefined>
  /** All that runs on its machine. */
  processes(): Promise<readonly Process[]>
  /** The daemon hangs, and goes on. Guests run. */
  pause(): Promise<void>
  resume(): Promise<void>
  /** SIGKILL for the daemon. Guests run. */
  kill(): Promise<void>
  /** Ends the daemon, if it runs, and starts it again; resolves when it answers. Guests run. */
  restart(): Promise<void>
  /** As a power failure: daemon and guests are gone. Only `stop` is left to do. */
  crash(): Promise<void>
  /** Ends daemon and guests, and removes the folder. */
  stop(): Promise<void>
}

interface Parts {
  readonly name: string
  readonly firmware: HaltingFirmware
  readonly sev: EmulatedSev | undefined
}

/** Starts one; several run side by side. @throws when it does not start, with what it said */
export async function startLibvirt(options: StartLibvirtOptions = {}): Promise<PrivateLibvirt> {
  const { name = 'host-1', uefi = 'halting' } = options
  const descriptors = uefi === 'halting' ? { descriptors: 'firmware/descriptors' } : {}
  const of = { name, ...descriptors, hasSevDevice: options.sev !== undefined }
  const { machine, prepared } = await PrivateMachine.start(of, async (home): Promise<Parts> => {
    const firmware = await writeHaltingFirmware(home.path('firmware'))
    await writeConfiguration(home, options)
    await writeRoot(home.path('root'), uefi === 'halting' ? firmware.descriptors : MACHINE_DESCRIPTORS, options.sev)
    return { name, firmware, sev: options.sev && (await EmulatedSev.prepare(home.folder, name, options.sev)) }
  })
  try {
    return await startDaemons(machine, prepared)
  } catch (error) {
    await machine.stop()
    throw error
  }
}

const MACHINE_DESCRIPTORS = '/usr/share/qemu/firmware'

async function writeRoot(root: string, descriptors: string, sev: SevSettings | undefined): Promise<void> {
  await mkdir(join(root, 'usr/share/qemu'), { recursive: true })
  await symlink(descriptors, join(root, 'usr/share/qemu/firmware'))
  if (sev === undefined) return
  await mkdir(join(root, 'sys/fs/cgroup'), { recursive: true })
  await writeKernelParameters(root, sev)
  await writeHostView(root, sev)
}

async function startDaemons(machine: PrivateMachine, { name, firmware, sev }: Parts): Promise<PrivateLibvirt> {
  const [libvirtd, virtlogd] = await Promise.all([findProgram('libvirtd'), findProgram('virtlogd')])
  if (libvirtd === undefined || virtlogd === undefined) throw new Error('libvirtd or virtlogd is not installed')
  const root = machine.path('root')
  const socket = machine.path('run/libvirt/libvirt-sock')
  const uri = `qemu+unix:///${isRoot ? 'system' : 'session'}?socket=${socket}`
  const virsh = virshOn(uri)
  let daemon: ChildProcess | undefined
  const start = async () => {
    const env = { ...(sev && { LD_PRELOAD: sev.library }), ...(!isRoot && SESSION_FOLDERS) }
    daemon = machine.spawn('libvirtd', [...(isRoot ? [] : AS_ORDINARY_USER), libvirtd], env)
    await machine.until('libvirtd', daemon, () => virsh('hostname').catch(() => undefined))
  }
  const end = async (signal: NodeJS.Signals) => {
    if (daemon) await machine.end(daemon, signal)
    daemon = undefined
  }
  const signal = async (which: NodeJS.Signals) => {
    if (daemon) await machine.signal(daemon, which)
  }

  // A session daemon starts its own.
  if (isRoot) machine.spawn('virtlogd', [virtlogd])
  if (sev) {
    const folder = join(root, 'sys/fs/cgroup')
    const counter = machine.spawn('asid-counter', [sev.counter, folder])
    await machine.until('asid-counter', counter, () => exists(join(folder, 'misc.current')))
  }
  await start()
  return {
    name,
    uri,
    socket,
    folder: machine.folder,
    root,
    firmware,
    sev,
    virtType: (await mayUseKvm()) ? 'kvm' : 'qemu',
    cpuMode: 'none',
    virsh,
    run: (program, ...args) => machine.run(program, ...args),
    processes: () => machine.processes(),
    guestProcess: async (uuid) => (await machine.processes()).find(({ args }) => isGuest(args, uuid)),
    pause: () => signal('SIGSTOP'),
    resume: () => signal('SIGCONT'),
    kill: () => end('SIGKILL'),
    async restart() {
      await end('SIGTERM')
      await start()
    },
    crash: () => machine.crash(),
    stop: () => machine.stop(),
  }
}

function isGuest([program = '', ...args]: readonly string[], uuid: string): boolean {
  return program.includes('qemu-system') && args[args.indexOf('-uuid') + 1] === uuid
}

/** The distribution's defaults but for what would reach outside: security drivers and control groups. */
async function writeConfiguration(home: ServerHome, options: StartLibvirtOptions): Promise<void> {
  const { qemuUser = 'distribution', libvirtdConf = '', qemuConf = '' } = options
  const asRoot = qemuUser === 'root' && isRoot ? ['user = "root"', 'group = "root"'] : []
  const lines = {
    'libvirtd.conf': [
      `host_uuid = "${randomUUID()}"`,
      'auth_unix_rw = "none"',
      'log_outputs = "3:stderr"',
      libvirtdConf,
    ],
    'qemu.conf': ['security_driver = "none"', 'cgroup_controllers = []', ...asRoot, qemuConf],
    'virtlogd.conf': ['log_outputs = "3:stderr"'],
  }
  for (const [file, content] of Object.entries(lines))
    await writeFile(home.path('etc', file), `${content.join('\n')}\n`)
}

async function exists(path: string): Promise<true | undefined> {
  return await access(path).then(
    () => true,
    () => undefined,
  )
}
