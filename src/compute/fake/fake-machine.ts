import { GuestNotFound, LibvirtError, SpawnFailed } from '../../errors.ts'
import { abortable } from '../../rpc/abortable.ts'
import type { HostCapabilities } from '../libvirt/host-capabilities.ts'
import { capabilitiesOf } from './fake-capabilities.ts'
import type { FakeHostFacts, FakeHostOptions } from './fake-host-options.ts'
import type { GuestStore, StoredGuest } from './guest-store.ts'

/** The machine of a simulated host: what it has and can do, which guests are there, and how it misbehaves. */
export class FakeMachine {
  readonly store: GuestStore
  #facts: FakeHostFacts
  #capabilities: HostCapabilities
  #spawnsToFail: number
  #lastDomainId: number
  readonly #waking = new Set<() => void>()

  constructor(store: GuestStore, facts: FakeHostFacts) {
    this.store = store
    this.#facts = facts
    this.#capabilities = capabilitiesOf(facts)
    this.#spawnsToFail = typeof facts.fail_spawn === 'number' ? facts.fail_spawn : 0
    this.#lastDomainId = Math.max(0, ...[...store.guests.values()].map(({ domain_id = 0 }) => domain_id))
  }

  get facts(): FakeHostFacts {
    return this.#facts
  }

  get capabilities(): HostCapabilities {
    return this.#capabilities
  }

  /** Changes the machine under the worker: another BIOS setting, another kernel parameter, a new fault. */
  reconfigure(changes: FakeHostOptions): void {
    this.#facts = { ...this.#facts, ...changes }
    this.#capabilities = capabilitiesOf(this.#facts)
    if (typeof changes.fail_spawn === 'number') this.#spawnsToFail = changes.fail_spawn
    if (this.#facts.hangs) return
    for (const wake of this.#waking) wake()
    this.#waking.clear()
  }

  /** At once, or when it does not hang any more. */
  async answers(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    while (this.#facts.hangs) await abortable(new Promise<void>((resolve) => this.#waking.add(resolve)), signal)
  }

  /** @throws GuestNotFound */
  guest(uuid: string): StoredGuest {
    const guest = this.store.guests.get(uuid)
    if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
    return guest
  }

  /** As it is once it runs, by one more start. @param document what runs, which need not be what was ordered */
  started(guest: Omit<StoredGuest, 'state' | 'live' | 'domain_id'>, document: string): StoredGuest {
    const domain_id = ++this.#lastDomainId
    return { ...guest, state: 'running', live: withDomainId(document, domain_id), domain_id }
  }

  async keep(uuid: string, guest: StoredGuest): Promise<void> {
    this.store.guests.set(uuid, guest)
    await this.store.save(uuid)
  }

  /** @throws what a start of the guest is to fail with */
  refuseByFault(uuid: string): void {
    const { fail_spawn } = this.#facts
    if (typeof fail_spawn === 'function') {
      const fault = fail_spawn(uuid)
      if (fault) throw fault
    } else if (this.#spawnsToFail > 0) {
      this.#spawnsToFail--
      throw new SpawnFailed('internal error: process exited while connecting to monitor (simulated fault)', {
        instance_uuid: uuid,
      })
    }
  }
}

/** As libvirt writes it into the document of a domain that runs; undefined: it does not. */
export function withDomainId(document: string, domainId: number | undefined): string {
  return document.replace(/<domain (?:id="\d+" )?/, domainId === undefined ? '<domain ' : `<domain id="${domainId}" `)
}

/** VIR_ERR_OPERATION_INVALID, in libvirt's words. */
export function invalidOperation(why: string): LibvirtError {
  return new LibvirtError(`Requested operation is not valid: ${why}`, { libvirt_code: 55 })
}
