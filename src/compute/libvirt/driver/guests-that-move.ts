import { MigrationError } from '../../../errors.ts'
import type { LeftDisks } from '../../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../../objects/live-migrate-data.ts'
import type { GuestDisks } from '../../disks/guest-disks.ts'
import type { SerialPorts } from '../../serial-ports.ts'
import type { DomainSpec } from '../domain-spec.ts'
import { FLAGS, type Libvirt } from '../rpc/libvirt.ts'
import { definitionOf } from './definition.ts'
import { guestState } from './guest-state.ts'
import { abortMigration, completeMigration, type LiveMigrationOptions, migrateLive } from './live-migration.ts'
import type { OwnDomains } from './own-domains.ts'
import { refuseUnsharedVolumes } from './unshared-volumes.ts'
import { refuseOtherFiles } from './volume-files.ts'

export interface MovingPorts {
  readonly libvirt: Libvirt
  readonly domains: OwnDomains
  readonly disks: GuestDisks
  readonly serialPorts: SerialPorts
  readonly options: LiveMigrationOptions
}

/** Guests that go to another host as they run, and those that come. */
export class GuestsThatMove {
  readonly #ports: MovingPorts

  constructor(ports: MovingPorts) {
    this.#ports = ports
  }

  async disksOf(uuid: string): Promise<LeftDisks> {
    const { domains, disks } = this.#ports
    const xml = await domains.find(uuid)
    if (xml !== undefined) await refuseUnsharedVolumes(uuid, xml)
    return await disks.own(uuid)
  }

  async expect(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData> {
    const { disks, serialPorts, options } = this.#ports
    await refuseOtherFiles(domain)
    const folder = await disks.share(domain, theirs, signal)
    const { tcp } = (await serialPorts.place(domain, signal)).serial
    const { inboundAddr, graphicsListen } = options
    return {
      folder,
      definition: definitionOf(domain).sha256,
      target_connect_addr: inboundAddr ?? null,
      graphics_listen_addr: graphicsListen ?? null,
      ...(tcp && { serial_listen_addr: tcp.listen, serial_listen_ports: tcp.port === undefined ? [] : [tcp.port] }),
    }
  }

  async send(uuid: string, host: string, data: LiveMigrateData, signal: AbortSignal): Promise<void> {
    const { libvirt, domains, disks, options } = this.#ports
    await domains.ownXml(uuid, signal)
    await migrateLive(uuid, host, data, { libvirt, options, folder: disks.folderOf(uuid) }, signal)
  }

  async abort(uuid: string, signal: AbortSignal): Promise<void> {
    const { libvirt, domains } = this.#ports
    if (await domains.has(uuid, signal)) await abortMigration(uuid, libvirt, signal)
  }

  async complete(uuid: string, signal: AbortSignal): Promise<boolean> {
    const { libvirt, domains, options } = this.#ports
    if (!(await domains.has(uuid, signal))) return false
    return completeMigration(uuid, { libvirt, options }, signal)
  }

  async welcome(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const { libvirt, domains, serialPorts } = this.#ports
    const { uuid } = domain
    const isOurs = await domains.has(uuid, signal)
    const found = isOurs ? await libvirt.domainGetState(uuid, { signal }) : undefined
    // It was made to stand still before it was sent; one that is still coming stands still for another reason.
    const hasToGoOn = found?.state === 'paused' && found.reason === 'user'
    if (hasToGoOn) await libvirt.domainResume(uuid)
    if (found === undefined || (!hasToGoOn && guestState(found.state) !== 'running')) {
      throw new MigrationError(`guest ${uuid} does not run here: it has not come`, { instance_uuid: uuid })
    }
    const placed = await serialPorts.place(domain, signal)
    await libvirt.domainDefineXmlFlags(definitionOf(placed).xml, FLAGS.defineValidate)
  }
}
