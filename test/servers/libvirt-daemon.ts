import { type ChildProcess, execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { access, constants, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { firstExecutable, onPath } from '../../src/servers/programs.ts'
import type { ServerHome } from '../../src/servers/server-home.ts'
import { EmulatedSev, type SevSettings, whyNoEmulatedSev, writeKernelParameters } from './emulated-sev.ts'
import { type HaltingFirmware, writeHaltingFirmware } from './halting-firmware.ts'
import { PrivateMachine, type Process, whyNoPrivateMachine } from './private-machine.ts'

const run = promisify(execFile)
const VIRSH_TIMEOUT_MS = 60_000

export interface StartLibvirtOptions {
  /** Host name; also part of what tells hosts apart in messages. */
  readonly name?: string
  /** With the emulated secure processor. */
  readonly sev?: SevSettings
  /** As whom QEMU runs: the user of the distribution's package, or root. */
  readonly qemuUser?: 'distribution' | 'root'
  /** Lines for libvirtd.conf and qemu.conf, after our own. */
  readonly libvirtdConf?: string
  readonly qemuConf?: string
}

/** A libvirt of our own: system daemon, its QEMUs, its files, on a machine of its own. */
export interface PrivateLibvirt {
  readonly name: string
  /** `qemu+unix:///system?socket=…`. */
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
  /** Runs virsh on it. @returns what it prints @throws with what it prints when it fails */
  virsh(...args: readonly string[]): Promise<string>
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

const PROGRAMS = ['libvirtd', 'virtlogd', 'virsh', 'qemu-system-x86_64', 'qemu-img', 'tini', 'unshare', 'nsenter', 'ip']

/** Why no private libvirt can be had here, and how to have it; undefined: it can. */
export async function whyNoLibvirt(): Promise<{ readonly why: string; readonly how: string } | undefined> {
  const found = await Promise.all(PROGRAMS.map(findProgram))
  const missing = PROGRAMS.filter((_program, index) => found[index] === undefined)
  if (missing.length > 0) {
    return {
      why: `no ${missing.join(', ')}`,
      how: 'apt-get install libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils ovmf tini iproute2 (as root on Debian or Ubuntu the tests do this themselves)',
    }
  }
  const why = await whyNoPrivateMachine()
  return why === undefined ? undefined : { why, how: 'run the tests as root, or let users make user namespaces' }
}

/** Why no private libvirt with emulated SEV can be had here, and how to have it; undefined: it can. */
export async function whyNoSevLibvirt(): Promise<{ readonly why: string; readonly how: string } | undefined> {
  return (await whyNoLibvirt()) ?? (await whyNoEmulatedSev())
}

interface Parts {
  readonly name: string
  readonly firmware: HaltingFirmware
  readonly sev: EmulatedSev | undefined
}

/** Starts one; several run side by side. @throws when it does not start, with what it said */
export async function startLibvirt(options: StartLibvirtOptions = {}): Promise<PrivateLibvirt> {
  const { name = 'host-1' } = options
  const of = { name, descriptors: 'firmware/descriptors', hasSevDevice: options.sev !== undefined }
  const { machine, prepared } = await PrivateMachine.start(of, async (home): Promise<Parts> => {
    const firmware = await writeHaltingFirmware(home.path('firmware'))
    await writeConfiguration(home, options)
    await writeRoot(home.path('root'), firmware, options.sev)
    return { name, firmware, sev: options.sev && (await EmulatedSev.prepare(home.folder, name, options.sev)) }
  })
  try {
    return await startDaemons(machine, prepared)
  } catch (error) {
    await machine.stop()
    throw error
  }
}

async function writeRoot(root: string, firmware: HaltingFirmware, sev: SevSettings | undefined): Promise<void> {
  await mkdir(join(root, 'usr/share/qemu'), { recursive: true })
  await symlink(firmware.descriptors, join(root, 'usr/share/qemu/firmware'))
  if (sev === undefined) return
  await mkdir(join(root, 'sys/fs/cgroup'), { recursive: true })
  await writeKernelParameters(root, sev)
}

async function startDaemons(machine: PrivateMachine, { name, firmware, sev }: Parts): Promise<PrivateLibvirt> {
  const [libvirtd, virtlogd] = await Promise.all([findProgram('libvirtd'), findProgram('virtlogd')])
  if (libvirtd === undefined || virtlogd === undefined) throw new Error('libvirtd or virtlogd is not installed')
  const root = machine.path('root')
  const socket = machine.path('run/libvirt/libvirt-sock')
  const uri = `qemu+unix:///system?socket=${socket}`
  const virsh = async (...args: readonly string[]) => {
    const { stdout } = await run('virsh', ['-q', '-c', uri, ...args], {
      timeout: VIRSH_TIMEOUT_MS,
      env: { PATH: process.env.PATH, LC_ALL: 'C.UTF-8' },
    })
    return stdout
  }
  let daemon: ChildProcess | undefined
  const start = async () => {
    daemon = machine.spawn('libvirtd', [libvirtd], sev && { LD_PRELOAD: sev.library })
    await machine.until('libvirtd', daemon, () => virsh('hostname').catch(() => undefined))
  }
  const end = async (signal: NodeJS.Signals) => {
    if (daemon) await machine.end(daemon, signal)
    daemon = undefined
  }
  const signal = async (which: NodeJS.Signals) => {
    if (daemon) await machine.signal(daemon, which)
  }

  machine.spawn('virtlogd', [virtlogd])
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
    virtType: (await hasKvm()) ? 'kvm' : 'qemu',
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
  const lines = {
    'libvirtd.conf': [
      `host_uuid = "${randomUUID()}"`,
      'auth_unix_rw = "none"',
      'log_outputs = "3:stderr"',
      libvirtdConf,
    ],
    'qemu.conf': ['security_driver = "none"', 'cgroup_controllers = []', ...qemuAccount(qemuUser), qemuConf],
    'virtlogd.conf': ['log_outputs = "3:stderr"'],
  }
  for (const [file, content] of Object.entries(lines))
    await writeFile(home.path('etc', file), `${content.join('\n')}\n`)
}

/** In a user namespace only root exists, who makes no device nodes there. */
function qemuAccount(user: StartLibvirtOptions['qemuUser']): readonly string[] {
  const root = ['user = "root"', 'group = "root"']
  if (process.getuid?.() !== 0) return [...root, 'namespaces = []']
  return user === 'root' ? root : []
}

async function hasKvm(): Promise<boolean> {
  return await access('/dev/kvm', constants.R_OK | constants.W_OK).then(
    () => true,
    () => false,
  )
}

/** Debian keeps daemons in a folder that is not on every user's PATH. */
async function findProgram(name: string): Promise<string | undefined> {
  return (await onPath(name)) ?? (await firstExecutable([`/usr/sbin/${name}`, `/sbin/${name}`]))
}

async function exists(path: string): Promise<true | undefined> {
  return await access(path).then(
    () => true,
    () => undefined,
  )
}
