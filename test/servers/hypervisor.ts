import { execFile } from 'node:child_process'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'
import { firstExecutable, onPath } from '../../src/servers/programs.ts'
import { DEBIAN_PACKAGES } from './find-servers.ts'
import { whyNoPrivateMachine } from './private-machine.ts'

const run = promisify(execFile)
const PROGRAMS = ['libvirtd', 'virtlogd', 'virsh', 'qemu-system-x86_64', 'qemu-img', 'tini', 'unshare', 'nsenter', 'ip']
const BY_ITSELF = '(as root on Debian or Ubuntu the tests do this themselves)'

/** Why something cannot be had here, and how to have it. */
export interface Lack {
  readonly why: string
  readonly how: string
}

/** A libvirt of the user's own, on real hardware: the tests of the driver run on it. */
export function givenLibvirt(): string | undefined {
  const uri = process.env.SEVBUS_TEST_LIBVIRT
  return uri === '' ? undefined : uri
}

/** Why no private libvirt can be had here; undefined: it can. */
export async function whyNoLibvirt(): Promise<Lack | undefined> {
  const missing = await missingHypervisorPrograms()
  if (missing.length > 0) {
    const how = `apt-get install ${DEBIAN_PACKAGES.hypervisor.join(' ')} ${BY_ITSELF}`
    return { why: `no ${missing.join(', ')}`, how }
  }
  const why = await whyNoPrivateMachine()
  return why === undefined ? undefined : { why, how: 'run the tests as root, or let users make user namespaces' }
}

/** Why none with emulated SEV can be had here; undefined: it can. */
export async function whyNoSevLibvirt(): Promise<Lack | undefined> {
  return (await whyNoLibvirt()) ?? (await whyNoEmulatedSev())
}

async function whyNoEmulatedSev(): Promise<Lack | undefined> {
  if (process.arch !== 'x64') return { why: 'this is not x86-64', how: 'run the tests on x86-64' }
  if ((await onPath('gcc')) === undefined) {
    return { why: 'no gcc', how: `apt-get install ${DEBIAN_PACKAGES.compiler.join(' ')} ${BY_ITSELF}` }
  }
  // QEMU's own code for SEV runs only with KVM as the accelerator, of any vendor.
  return (await mayUseKvm()) ? undefined : { why: 'no /dev/kvm for this user', how: 'run the tests where KVM is' }
}

/** For the summary of a run; undefined: it has no real guests. */
export async function describeHypervisor(): Promise<string | undefined> {
  const given = givenLibvirt()
  if (given !== undefined) return `${given}, given by SEVBUS_TEST_LIBVIRT`
  if (await whyNoLibvirt()) return undefined
  const versions = await Promise.all([version('libvirtd'), version('qemu-system-x86_64')])
  const sev = (await whyNoSevLibvirt()) ? 'without SEV' : 'SEV and SEV-ES emulated, SEV-SNP on simulated hosts only'
  return `libvirt ${versions[0]}, QEMU ${versions[1]}, ${(await mayUseKvm()) ? 'KVM' : 'no KVM'}; ${sev}`
}

export async function missingHypervisorPrograms(): Promise<readonly string[]> {
  const found = await Promise.all(PROGRAMS.map(findProgram))
  return PROGRAMS.filter((_program, index) => found[index] === undefined)
}

/** Debian keeps daemons in a folder that is not on every user's PATH. */
export async function findProgram(name: string): Promise<string | undefined> {
  return (await onPath(name)) ?? (await firstExecutable([`/usr/sbin/${name}`, `/sbin/${name}`]))
}

/** Opened and not only looked at: in containers it may be there and forbidden. */
export async function mayUseKvm(): Promise<boolean> {
  try {
    await (await open('/dev/kvm', 'r+')).close()
    return true
  } catch {
    return false
  }
}

async function version(name: string): Promise<string> {
  const { stdout } = await run((await findProgram(name)) ?? name, ['--version'])
  return /\d+(\.\d+)+/.exec(stdout)?.[0] ?? 'of unknown version'
}
