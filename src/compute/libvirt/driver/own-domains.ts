import { GuestNotFound, SpawnFailed } from '../../../errors.ts'
import type { Libvirt } from '../rpc/libvirt.ts'
import { VIR_ERR } from '../rpc/remote-error.ts'
import { type Ownership, ownershipOf } from './definition.ts'
import { guestState } from './guest-state.ts'
import { unlessRefused } from './unless-refused.ts'

/** The domains of this host, of which the driver touches none but its own: those with our metadata. */
export class OwnDomains {
  readonly #libvirt: Libvirt

  constructor(libvirt: Libvirt) {
    this.#libvirt = libvirt
  }

  /** The live document, or of a guest that does not run what it would run with; undefined: there is no such guest. */
  async find(uuid: string, signal?: AbortSignal): Promise<string | undefined> {
    return await unlessRefused(this.#libvirt.domainGetXmlDesc(uuid, 0, signal && { signal }), VIR_ERR.noDomain)
  }

  /** @throws GuestNotFound */
  async xml(uuid: string, signal: AbortSignal): Promise<string> {
    const xml = await this.find(uuid, signal)
    if (xml !== undefined) return xml
    throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  }

  /** @throws GuestNotFound, SpawnFailed when it is not ours */
  async ownXml(uuid: string, signal: AbortSignal): Promise<string> {
    const xml = await this.xml(uuid, signal)
    refuseForeign(uuid, xml)
    return xml
  }

  /** Its document while it runs; undefined: the guest is off. @throws GuestNotFound, SpawnFailed when it is not ours */
  async runningXml(uuid: string, signal: AbortSignal): Promise<string | undefined> {
    const xml = await this.ownXml(uuid, signal)
    const { state } = await this.#libvirt.domainGetState(uuid, { signal })
    return ['running', 'paused'].includes(guestState(state)) ? xml : undefined
  }

  /** @returns false when there is no such guest @throws SpawnFailed when it is not ours */
  async has(uuid: string, signal?: AbortSignal): Promise<boolean> {
    const xml = await this.find(uuid, signal)
    if (xml !== undefined) refuseForeign(uuid, xml)
    return xml !== undefined
  }

  /** Every domain that there is, with its document. */
  async *all(signal: AbortSignal): AsyncGenerator<{ readonly uuid: string; readonly xml: string }> {
    for (const { uuid } of await this.#libvirt.connectGetAllDomainStates({ signal })) {
      const xml = await this.find(uuid, signal)
      if (xml !== undefined) yield { uuid, xml }
    }
  }
}

/** @throws SpawnFailed */
export function refuseForeign(uuid: string, xml: string): Ownership {
  const owner = ownershipOf(xml)
  if (owner.isOurs) return owner
  throw new SpawnFailed(`the domain ${uuid} on this host is not sevbus's; it is left alone`, {
    instance_uuid: uuid,
    fix: 'look who made it (virsh dumpxml), and undefine it if nobody needs it',
  })
}
