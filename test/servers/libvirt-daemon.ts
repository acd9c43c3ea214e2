import { type ChildProcess, execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { access, constants, writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { onPath } from '../../src/servers/programs.ts'
import type { ServerHome } from '../../src/servers/server-home.ts'
import { type HaltingFirmware, writeHaltingFirmware } from './halting-firmware.ts'
import { PrivateMachine, type Process, whyNoPrivateMachine } from './private-machine.ts'

const run = promisify(execFile)
const VIRSH_TIMEOUT_MS = 60_000

export interface StartLibvirtOptions {
  /** Host name; also part of what tells hosts apart in messages. */
  readonly name?: string
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
  readonly firmware: HaltingFirmware
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

/** Starts one; several run side by side. @throws when it does not start, with what it said */
export async function startLibvirt(options: StartLibvirtOptions = {}): Promise<PrivateLibvirt> {
  const { name = 'host-1' } = options
  let firmware: HaltingFirmware | undefined
  const machine = await PrivateMachine.start({ name, descriptors: 'firmware/descriptors' }, async (home) => {
    firmware = await writeHaltingFirmware(home.path('firmware'))
    await writeConfiguration(home, options)
  })
  try {
    if (firmware === undefined) throw new Error('no firmware was written')
    return await startDaemons(machine, firmware, name)
  } catch (error) {
    await machine.stop()
    throw error
  }
}

async function startDaemons(machine: PrivateMachine, firmware: HaltingFirmware, name: string): Promise<PrivateLibvirt> {
  const [libvirtd, virtlogd] = await Promise.all([findProgram('libvirtd'), findProgram('virtlogd')])
  if (libvirtd === undefined || virtlogd === undefined) throw new Error('libvirtd or virtlogd is not installed')
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
    daemon = machine.spawn('libvirtd', [libvirtd])
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
  await start()
  return {
    name,
    uri,
    socket,
    folder: machine.folder,
    firmware,
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
  const found = await onPath(name)
  if (found !== undefined) return found
  for (const path of [`/usr/sbin/${name}`, `/sbin/${name}`]) {
    if (
      await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return path
  }
  return undefined
}
