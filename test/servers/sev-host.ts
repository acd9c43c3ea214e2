import { chmod } from 'node:fs/promises'
import { ServerHome } from '../../src/servers/server-home.ts'
import type { SevSettings } from './emulated-sev.ts'
import { givenLibvirt, type Lack, whyNoSevLibvirt } from './hypervisor.ts'
import { type PrivateLibvirt, startLibvirt } from './libvirt-daemon.ts'
import { type Virsh, virshOn } from './virsh.ts'

/** A host with SEV for tests that run on real hardware as on the emulated one. */
export interface SevHost {
  /** `emulated SEV`, or the URI of the one that `SEVBUS_TEST_LIBVIRT` names. */
  readonly description: string
  readonly uri: string
  /** A place for disks that QEMU can reach, gone with the host. */
  readonly folder: string
  /** Where a worker reads what its host has: `/`, or what stands in for it. */
  readonly root: string
  /** Undefined on real hardware: daemons cannot be killed there, nor commands made to fail. */
  readonly emulated: PrivateLibvirt | undefined
  readonly virsh: Virsh
  stop(): Promise<void>
}

/** Undefined: there is one, given or emulated. */
export async function whyNoSevHost(): Promise<Lack | undefined> {
  return givenLibvirt() === undefined ? await whyNoSevLibvirt() : undefined
}

/** Whether it has SEV-ES, too: of a given one libvirt is asked, the emulated one always has. */
export async function offersSevEs(): Promise<boolean> {
  const uri = givenLibvirt()
  return uri === undefined || /^max-es-guests +: [1-9]/m.test(await virshOn(uri)('nodesevinfo'))
}

/**
 * The host that `SEVBUS_TEST_LIBVIRT` names, which must be this machine's, else an emulated one.
 * @param settings of the emulated one; what the hardware has cannot be chosen
 */
export async function startSevHost(settings: SevSettings = {}): Promise<SevHost> {
  const uri = givenLibvirt()
  if (uri === undefined) {
    const host = await startLibvirt({ name: 'sev', sev: settings })
    const { folder, root, virsh } = host
    return { description: 'emulated SEV', uri: host.uri, folder, root, virsh, emulated: host, stop: () => host.stop() }
  }
  const virsh = virshOn(uri)
  await virsh('version')
  const home = await ServerHome.create('sev-host')
  await chmod(home.folder, 0o711)
  return { description: uri, uri, folder: home.folder, root: '/', virsh, emulated: undefined, stop: () => home.close() }
}
