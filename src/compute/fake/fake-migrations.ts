import { MigrationError } from '../../errors.ts'
import type { MigrationOrder } from '../../objects/instance-action.ts'
import type { LeftDisks } from '../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../objects/live-migrate-data.ts'
import { abortable } from '../../rpc/abortable.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { domainXml } from '../libvirt/domain-xml.ts'
import { readDefinition } from './definition.ts'
import type { FakeDisks } from './fake-disks.ts'
import { type FakeMachine, withDomainId } from './fake-machine.ts'
import { qemuRefuses, receivedGuest, sendGuest } from './guest-mail.ts'

/** Simulated guests that come and go as they run. What they are, and that they run, is all that there is of them: that goes by a file. */
export class FakeMigrations {
  readonly #machine: FakeMachine
  readonly #disks: FakeDisks
  /** Guests that may come from other hosts: their disks are here, and they are not. */
  readonly #expected: Set<string>
  /** Guests that are on their way to another host, and how that can be ended. */
  readonly #going = new Map<string, (how: MigrationOrder) => void>()

  constructor(machine: FakeMachine, disks: FakeDisks) {
    this.#machine = machine
    this.#disks = disks
    const { store } = machine
    this.#expected = new Set([...store.disks.keys()].filter((uuid) => !store.guests.has(uuid)))
  }

  async expect(domain: DomainSpec, theirs: LeftDisks): Promise<LiveMigrateData> {
    const { uuid, diskFiles } = readDefinition(domainXml(domain), this.#machine.capabilities)
    await this.#disks.share(uuid, diskFiles, theirs)
    this.#expected.add(uuid)
    const { folder } = this.#machine.store
    return { folder, definition: uuid, target_connect_addr: null, graphics_listen_addr: null }
  }

  /** Takes in what has come. */
  async letIn(): Promise<void> {
    const { store } = this.#machine
    for (const uuid of this.#expected) {
      const live = await receivedGuest(store.folder, uuid)
      if (live === undefined) continue
      this.#expected.delete(uuid)
      if (store.disks.has(uuid))
        await this.#machine.keep(uuid, this.#machine.started({ definition: withDomainId(live, undefined) }, live))
    }
  }

  /** Whatever comes of it is not let in any more. */
  async expectNoMore(uuid: string): Promise<void> {
    if (this.#expected.delete(uuid)) await receivedGuest(this.#machine.store.folder, uuid)
  }

  async welcome(domain: DomainSpec): Promise<void> {
    const { uuid } = domain
    const definition = domainXml(domain)
    readDefinition(definition, this.#machine.capabilities)
    await this.letIn()
    const guest = this.#machine.store.guests.get(uuid)
    if (guest?.state !== 'running')
      throw new MigrationError(`guest ${uuid} does not run here: it has not come`, { instance_uuid: uuid })
    await this.#machine.keep(uuid, { ...guest, definition })
  }

  /** @param folder of the host that it goes to */
  async send(uuid: string, host: string, folder: string, signal: AbortSignal): Promise<void> {
    const { facts } = this.#machine
    const guest = this.#machine.guest(uuid)
    if (guest.migrated) return
    if (guest.state !== 'running') throw new MigrationError(`guest ${uuid} is ${guest.state}`, { instance_uuid: uuid })
    if (guest.model !== undefined) throw qemuRefuses(uuid)
    if (facts.holds_migrations) await this.#goOn(uuid, host, signal)
    if (this.#machine.facts.fail_migration) throw notCome(uuid, host, 'simulated fault')
    // Off before it runs there: a worker that dies in between has none, and no second one.
    await this.#machine.keep(uuid, { definition: guest.definition, state: 'shutoff', migrated: true })
    await sendGuest(folder, uuid, guest.live ?? guest.definition).catch(async (error: Error) => {
      await this.#machine.keep(uuid, guest)
      throw notCome(uuid, host, error.message)
    })
  }

  /** Until it is forced. Whoever waits no more leaves it under way. */
  async #goOn(uuid: string, host: string, signal: AbortSignal): Promise<void> {
    const ended = new Promise<MigrationOrder>((resolve) => this.#going.set(uuid, resolve))
    const how = await abortable(ended, signal)
    this.#going.delete(uuid)
    if (how === 'abort') throw notCome(uuid, host, 'canceled by client')
  }

  /** Is it on its way, as far as one can see? */
  isGoing(uuid: string): boolean {
    return this.#going.has(uuid)
  }

  abort(uuid: string): void {
    this.#going.get(uuid)?.('abort')
    this.#going.delete(uuid)
  }

  complete(uuid: string): boolean {
    const end = this.#going.get(uuid)
    end?.('force_complete')
    return end !== undefined
  }
}

function notCome(uuid: string, host: string, why: string): MigrationError {
  return new MigrationError(`guest ${uuid} has not come to ${host}: ${why}`, { instance_uuid: uuid })
}
