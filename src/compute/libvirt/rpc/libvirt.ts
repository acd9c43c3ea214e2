import { type StateAndReason, stateInWords } from './domain-words.ts'
import type { GuestEventStream } from './guest-events.ts'
import { LibvirtConnections, type LibvirtOptions, type Limits } from './libvirt-connections.ts'
import type { DomainReference, Result } from './procedures.ts'
import { byField, TEXTS_WANTED, type TypedParam, type TypedValue } from './typed-param.ts'

export interface DomainSummary extends StateAndReason {
  readonly uuid: string
  readonly name: string
}

export interface DomainCapabilitiesOf {
  readonly emulator?: string
  readonly arch: string
  readonly machine: string
  readonly virttype: 'kvm' | 'qemu'
}

/** virDomainDefineFlags, virDomainXMLFlags, virDomainUndefineFlagsValues, virDomainDeviceModifyFlags, virDomainCreateFlags */
export const FLAGS = {
  defineValidate: 1,
  xmlInactive: 2,
  xmlMigratable: 8,
  undefineManagedSave: 1,
  undefineSnapshotsMetadata: 2,
  undefineNvram: 4,
  deviceLive: 1,
  deviceConfig: 2,
  /** Of a start: what was saved of the guest's memory is dropped. */
  startForceBoot: 8,
} as const

/** VIR_DOMAIN_STATS_STATE */
const STATE_OF_ALL = 1

/**
 * libvirt by its own protocol: methods have libvirt's names, and take guests by their uuid.
 *
 * A call whose connection is lost, or that takes too long, fails; whether it was done is then to be looked up.
 *
 * @throws LibvirtError, HypervisorTimeout, HypervisorUnavailable, InvalidLibvirtMessage, the signal's reason: all methods
 */
export class Libvirt {
  readonly uri: string
  readonly #connections: LibvirtConnections

  /** @throws InvalidConfiguration when the URI is none */
  constructor(options: LibvirtOptions) {
    this.uri = options.uri
    this.#connections = new LibvirtConnections(options)
  }

  // -- the host ---------------------------------------------------------------------------------------------------

  async connectGetCapabilities(limits?: Limits): Promise<string> {
    return (await this.#connections.ask('connectGetCapabilities', undefined, limits)).capabilities
  }

  async connectGetDomainCapabilities(of: DomainCapabilitiesOf, limits?: Limits): Promise<string> {
    const args = { emulator: undefined, ...of, flags: 0 }
    return (await this.#connections.ask('connectGetDomainCapabilities', args, limits)).capabilities
  }

  /** @returns as libvirt counts: 1,000,000 × major + 1,000 × minor + release */
  async versions(limits?: Limits): Promise<{ readonly libvirt: number; readonly hypervisor: number }> {
    const [libvirt, hypervisor] = await Promise.all([
      this.#connections.ask('connectGetLibVersion', undefined, limits),
      this.#connections.ask('connectGetVersion', undefined, limits),
    ])
    return { libvirt: Number(libvirt.version), hypervisor: Number(hypervisor.version) }
  }

  async connectGetHostname(limits?: Limits): Promise<string> {
    return (await this.#connections.ask('connectGetHostname', undefined, limits)).hostname
  }

  async nodeGetInfo(limits?: Limits): Promise<Result<'nodeGetInfo'>> {
    return await this.#connections.ask('nodeGetInfo', undefined, limits)
  }

  /** @throws LibvirtError (operationUnsupported) on a host without SEV */
  async nodeGetSevInfo(limits?: Limits): Promise<Readonly<Record<string, TypedValue>>> {
    // How many there are is asked first, as in all of libvirt's older calls with typed parameters.
    const { nparams } = await this.#connections.ask('nodeGetSevInfo', { nparams: 0, flags: TEXTS_WANTED }, limits)
    return byField((await this.#connections.ask('nodeGetSevInfo', { nparams, flags: TEXTS_WANTED }, limits)).params)
  }

  async networkIsActive(name: string, limits?: Limits): Promise<boolean> {
    const { net } = await this.#connections.ask('networkLookupByName', { name }, limits)
    return (await this.#connections.ask('networkIsActive', { net }, limits)).active
  }

  // -- questions about guests -------------------------------------------------------------------------------------

  /** All guests with their states, in one call. */
  async connectGetAllDomainStates(limits?: Limits): Promise<readonly DomainSummary[]> {
    const args = { domains: [], stats: STATE_OF_ALL, flags: 0 }
    const { records } = await this.#connections.ask('connectGetAllDomainStats', args, limits)
    return records.map(({ dom, params }) => {
      const fields = byField(params)
      const state = stateInWords(Number(fields['state.state']), Number(fields['state.reason']))
      return { uuid: dom.uuid, name: dom.name, ...state }
    })
  }

  async domainLookupByUuid(uuid: string, limits?: Limits): Promise<DomainReference> {
    return (await this.#connections.ask('domainLookupByUuid', { uuid }, limits)).dom
  }

  async domainGetState(uuid: string, limits?: Limits): Promise<StateAndReason> {
    const { state, reason } = await this.#connections.ask('domainGetState', { dom: guest(uuid), flags: 0 }, limits)
    return stateInWords(state, reason)
  }

  async domainGetXmlDesc(uuid: string, flags = 0, limits?: Limits): Promise<string> {
    return (await this.#connections.ask('domainGetXmlDesc', { dom: guest(uuid), flags }, limits)).xml
  }

  async domainGetLaunchSecurityInfo(uuid: string, limits?: Limits): Promise<Readonly<Record<string, TypedValue>>> {
    const args = { dom: guest(uuid), flags: TEXTS_WANTED }
    return byField((await this.#connections.ask('domainGetLaunchSecurityInfo', args, limits)).params)
  }

  /** What happens to guests, from now on. It begins with `resync`, and has one wherever events may have been lost. */
  events(): GuestEventStream {
    return this.#connections.events()
  }

  // -- what changes guests ----------------------------------------------------------------------------------------

  async domainDefineXmlFlags(
    xml: string,
    flags: number = FLAGS.defineValidate,
    limits?: Limits,
  ): Promise<DomainReference> {
    return (await this.#connections.tell('domainDefineXmlFlags', { xml, flags }, limits)).dom
  }

  async domainCreateWithFlags(uuid: string, flags = 0, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainCreateWithFlags', { dom: guest(uuid), flags }, limits)
  }

  async domainDestroyFlags(uuid: string, flags = 0, limits?: Limits): Promise<void> {
    await this.#connections.stop('domainDestroyFlags', { dom: guest(uuid), flags }, limits)
  }

  async domainUndefineFlags(uuid: string, flags: number, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainUndefineFlags', { dom: guest(uuid), flags }, limits)
  }

  async domainShutdown(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainShutdown', { dom: guest(uuid) }, limits)
  }

  async domainReboot(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainReboot', { dom: guest(uuid), flags: 0 }, limits)
  }

  async domainReset(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainReset', { dom: guest(uuid), flags: 0 }, limits)
  }

  async domainSuspend(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainSuspend', { dom: guest(uuid) }, limits)
  }

  async domainResume(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainResume', { dom: guest(uuid) }, limits)
  }

  /** Saves the memory where libvirt keeps it, and ends the guest; its next start goes on from there. */
  async domainManagedSave(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainManagedSave', { dom: guest(uuid), flags: 0 }, limits)
  }

  async domainHasManagedSaveImage(uuid: string, limits?: Limits): Promise<boolean> {
    const args = { dom: guest(uuid), flags: 0 }
    return (await this.#connections.ask('domainHasManagedSaveImage', args, limits)).result === 1
  }

  /** Of the long work that is done to the guest, if any is: a migration. */
  async domainGetJobInfo(uuid: string, limits?: Limits): Promise<Result<'domainGetJobInfo'>> {
    return await this.#connections.ask('domainGetJobInfo', { dom: guest(uuid) }, limits)
  }

  async domainAbortJob(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.stop('domainAbortJob', { dom: guest(uuid) }, limits)
  }

  /** Of a migration that permits it: the guest goes on at its destination, and what is left of its memory follows. */
  async domainMigrateStartPostCopy(uuid: string, limits?: Limits): Promise<void> {
    await this.#connections.stop('domainMigrateStartPostCopy', { dom: guest(uuid), flags: 0 }, limits)
  }

  /**
   * The daemon brings the guest to the one at `uri` by itself: it goes on when nobody waits any more.
   * @param migration.flags with VIR_MIGRATE_PEER2PEER
   */
  async domainMigratePerform3Params(
    uuid: string,
    { uri, params, flags }: { readonly uri: string; readonly params: readonly TypedParam[]; readonly flags: number },
    limits?: Limits,
  ): Promise<void> {
    const args = { dom: guest(uuid), dconnuri: uri, params, cookieIn: Buffer.alloc(0), flags }
    await this.#connections.tell('domainMigratePerform3Params', args, limits)
  }

  async domainAttachDeviceFlags(uuid: string, xml: string, flags: number, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainAttachDeviceFlags', { dom: guest(uuid), xml, flags }, limits)
  }

  async domainDetachDeviceFlags(uuid: string, xml: string, flags: number, limits?: Limits): Promise<void> {
    await this.#connections.tell('domainDetachDeviceFlags', { dom: guest(uuid), xml, flags }, limits)
  }

  /** Ends the connections and the streams of events; what the daemon has begun goes on there. */
  async close(): Promise<void> {
    await this.#connections.close()
  }
}

/** The daemon looks at the uuid alone; a name would be one more thing that could be wrong. */
function guest(uuid: string): DomainReference {
  return { name: '', uuid, id: -1 }
}
