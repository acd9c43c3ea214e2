import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmod } from 'node:fs/promises'
import { promisify } from 'node:util'
import { readEncryptionKeys } from '../../src/compute/libvirt/encryption-keys.ts'
import { ServerHome } from '../../src/servers/server-home.ts'
import type { SevSettings } from './emulated-sev.ts'
import { HALTING_FIRMWARE_SAYS } from './halting-firmware.ts'
import { givenLibvirt, type Lack, whyNoSevLibvirt } from './hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from './libvirt-daemon.ts'
import { notRun } from './not-run.ts'
import { type Virsh, virshOn } from './virsh.ts'

const run = promisify(execFile)

/** A host with SEV for the tests with encrypted guests: the one place that knows whether its hardware is real. */
export interface SevHost {
  readonly uri: string
  /** A place for disks that QEMU can reach, gone with the host. */
  readonly folder: string
  /** Where a worker reads what its host has: `/`, or what stands in for it. */
  readonly root: string
  /** Undefined on real hardware: daemons cannot be killed there, nor commands made to fail, nor keys be chosen. */
  readonly emulated: PrivateLibvirt | undefined
  readonly virtType: 'kvm' | 'qemu'
  /** Of its guests; undefined: as the product has it. */
  readonly cpuMode: 'none' | undefined
  /** What its firmware needs at least. */
  readonly guestMemoryMb: number
  /** What its firmware writes to the first serial port. */
  readonly firmwareSays: RegExp
  readonly virsh: Virsh
  /** Runs a program where its guests run. */
  run(program: string, ...args: readonly string[]): Promise<string>
  /** Makes a bridge for guests, once; it is gone with the host. @returns its name */
  bridge(): Promise<string>
  stop(): Promise<void>
}

/** What libvirt tells of the processor. */
export interface SevInfo {
  readonly cbitpos: number
  readonly maxGuests: number
  readonly maxEsGuests: number
}

/** Undefined: there is one, given or emulated. */
export async function whyNoSevHost(): Promise<Lack | undefined> {
  if (givenLibvirt() === undefined) return await whyNoSevLibvirt()
  if ((await readEncryptionKeys('/')) !== undefined) return undefined
  return { why: 'the kernel does not count keys', how: 'Linux 5.13 or later with cgroup v2 and its controller misc' }
}

/**
 * True where the host is emulated. Else the tests of this name are listed as not run: real hardware does not do what they need.
 * @example if (canEmulate('commands that fail', 'a real secure processor does not fail when told to')) it(…)
 */
export function canEmulate(name: string, why: string): boolean {
  if (givenLibvirt() === undefined) return true
  notRun({ name, why, how: 'unset SEVBUS_TEST_LIBVIRT: the emulated host does it' })
  return false
}

export async function sevInfo(virsh: Virsh): Promise<SevInfo> {
  const text = await virsh('nodesevinfo')
  const number = (field: string) => Number(new RegExp(`^${field} +: (\\d+)$`, 'm').exec(text)?.[1])
  return { cbitpos: number('cbitpos'), maxGuests: number('max-guests'), maxEsGuests: number('max-es-guests') }
}

/** Whether it has SEV-ES, too: of a given one libvirt is asked, the emulated one always has. */
export async function offersSevEs(): Promise<boolean> {
  const uri = givenLibvirt()
  return uri === undefined || (await sevInfo(virshOn(uri))).maxEsGuests > 0
}

/**
 * The host that `SEVBUS_TEST_LIBVIRT` names, which must be this machine's and have no guests, else an emulated one.
 * @param settings of the emulated one, undefined for one without SEV; what hardware has cannot be chosen
 */
export async function startSevHost(name: string, settings: SevSettings | undefined): Promise<SevHost> {
  const uri = givenLibvirt()
  return uri === undefined ? await emulatedHost(name, settings) : await givenHost(uri)
}

async function emulatedHost(name: string, settings: SevSettings | undefined): Promise<SevHost> {
  const host = await startLibvirt({ name, ...(settings && { sev: settings }) })
  const { uri, folder, root, virtType, cpuMode, virsh, run, stop } = host
  let made: Promise<unknown> | undefined
  return {
    ...{ uri, folder, root, virtType, cpuMode, virsh, run, stop },
    emulated: host,
    guestMemoryMb: 64,
    firmwareSays: new RegExp(`^${HALTING_FIRMWARE_SAYS}$`),
    async bridge() {
      made ??= host.run('ip', 'link', 'add', 'br0', 'type', 'bridge')
      await made
      return 'br0'
    },
  }
}

async function givenHost(uri: string): Promise<SevHost> {
  const virsh = virshOn(uri)
  const domains = (await virsh('list', '--all', '--name')).split('\n').filter(Boolean)
  // Tests look at all guests of their host, and remove them.
  if (domains.length > 0)
    throw new Error(`${uri} (SEVBUS_TEST_LIBVIRT) has guests (${domains[0]}): name a host without`)
  const home = await ServerHome.create('sev-host')
  await chmod(home.folder, 0o711)
  const runHere = async (program: string, ...args: readonly string[]) => (await run(program, args)).stdout
  // At most 15 characters (IFNAMSIZ).
  const bridge = `sbtest${randomBytes(3).toString('hex')}`
  let made: Promise<unknown> | undefined
  return {
    ...{ uri, virsh, folder: home.folder },
    root: '/',
    emulated: undefined,
    virtType: 'kvm',
    cpuMode: undefined,
    // OVMF of a distribution.
    guestMemoryMb: 256,
    firmwareSays: /\S/,
    run: runHere,
    async bridge() {
      made ??= runHere('ip', 'link', 'add', bridge, 'type', 'bridge')
      await made
      return bridge
    },
    async stop() {
      await made?.then(() => runHere('ip', 'link', 'delete', bridge))
      await home.close()
    },
  }
}
