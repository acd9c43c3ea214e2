import { GuestNotFound, LibvirtError, MigrationError, SpawnFailed } from '../../../errors.ts'
import type { EncryptionKeys } from '../../../objects/guest-report.ts'
import type { LeftDisks } from '../../../objects/left-disks.ts'
import type { LiveMigrateData } from '../../../objects/live-migrate-data.ts'
import { abortable, endedWithin } from '../../../rpc/abortable.ts'
import type { DiskContents } from '../../disks/disk-contents.ts'
import type { GuestDisks } from '../../disks/guest-disks.ts'
import type { StoredImage } from '../../images/image-source.ts'
import { SerialPorts } from '../../serial-ports.ts'
import type { DiskFolder, Guest, GuestChange, GuestLaunch, HostResources, VirtDriver } from '../../virt-driver.ts'
import type { DomainSpec } from '../domain-spec.ts'
import { readEncryptionKeys } from '../encryption-keys.ts'
import { decideHostCapabilities, type HostCapabilities } from '../host-capabilities.ts'
import type { PluggedDevice } from '../plugged-device.ts'
import { FLAGS, type Libvirt } from '../rpc/libvirt.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'
import { type Definition, definitionOf, ownershipOf } from './definition.ts'
import { guestLaunch } from './guest-launch.ts'
import { guestState } from './guest-state.ts'
import { type HostOptions, readHostFacts } from './host-facts.ts'
import {
  abortMigration,
  completeMigration,
  DEFAULT_LIVE_MIGRATION,
  type LiveMigrationOptions,
  migrateLive,
} from './live-migration.ts'
import { nodeResources } from './node-resources.ts'
import { plugIn, takeOut } from './plugging.ts'
import { startFailure } from './start-failure.ts'
import { refuseUnsharedVolumes } from './unshared-volumes.ts'
import { refuseOtherFiles } from './volume-files.ts'

/** How often a guest that is being started is told to stop. */
const STOP_AGAIN_MS = 50

/**
 * Real guests, by libvirt and QEMU. Touches no domain but its own: those with our metadata.
 */
export class LibvirtVirtDriver implements VirtDriver {
  readonly description: string
  /** As Nova names it. */
  readonly hypervisorType = 'QEMU'
  readonly #libvirt: Libvirt
  readonly #disks: GuestDisks
  readonly #options: HostOptions
  readonly #migration: LiveMigrationOptions
  /** Starts that the daemon may be at, though nobody waits for them any more. */
  readonly #starting = new Map<string, Promise<void>>()
  readonly #serialPorts = new SerialPorts((signal) => this.#definedGuests(signal))

  constructor(
    libvirt: Libvirt,
    disks: GuestDisks,
    options: HostOptions,
    migration: LiveMigrationOptions = DEFAULT_LIVE_MIGRATION,
  ) {
    this.description = libvirt.uri
    this.#libvirt = libvirt
    this.#disks = disks
    this.#options = options
    this.#migration = migration
  }

  async capabilities(signal: AbortSignal): Promise<HostCapabilities> {
    return decideHostCapabilities(await readHostFacts(this.#libvirt, this.#options, signal))
  }

  async resources(signal: AbortSignal): Promise<HostResources> {
    const [node, disk_gb] = await Promise.all([nodeResources(this.#libvirt, signal), this.#disks.offeredGb()])
    return { ...node, disk_gb }
  }

  async guests(signal: AbortSignal): Promise<readonly Guest[]> {
    const domains = await this.#libvirt.connectGetAllDomainStates({ signal })
    return domains.map(({ uuid, state }) => ({ uuid, state: guestState(state) }))
  }

  async guest(uuid: string, signal: AbortSignal): Promise<Guest | undefined> {
    const found = await unlessRefused(this.#libvirt.domainGetState(uuid, { signal }), VIR_ERR.noDomain)
    // After a post-copy that broke its memory is here in part, and there in part: it can go on nowhere.
    if (found?.reason === 'postcopy_failed') return { uuid, state: 'crashed' }
    return found && { uuid, state: guestState(found.state) }
  }

  async encryptionKeys(signal: AbortSignal): Promise<EncryptionKeys | undefined> {
    signal.throwIfAborted()
    return await readEncryptionKeys(this.#options.root)
  }

  async domainXml(uuid: string, signal: AbortSignal): Promise<string> {
    const xml = await this.#xmlOf(uuid, signal)
    if (xml !== undefined) return xml
    throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  }

  async consoleLog(uuid: string, maxBytes: number, signal: AbortSignal): Promise<Buffer> {
    await this.domainXml(uuid, signal)
    return await this.#disks.consoleLog(uuid, maxBytes)
  }

  /** By QEMU's own answer. What it refuses to say, or cannot say any more, is no proof. */
  async launch(uuid: string, signal: AbortSignal): Promise<GuestLaunch> {
    try {
      return guestLaunch(await this.#libvirt.domainGetLaunchSecurityInfo(uuid, { signal }))
    } catch (error) {
      if (error instanceof LibvirtError) return { isEncrypted: false, why: error.message }
      throw error
    }
  }

  holdImage(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<Disposable> {
    return this.#disks.holdImage(domain, contents, signal)
  }

  createDisks(domain: DomainSpec, contents: DiskContents, signal: AbortSignal): Promise<void> {
    return this.#disks.create(domain, contents, signal)
  }

  removeDisks(uuid: string): Promise<void> {
    return this.#disks.remove(uuid)
  }

  async diskFolders(signal: AbortSignal): Promise<readonly DiskFolder[]> {
    signal.throwIfAborted()
    return await this.#disks.folders()
  }

  diskBytes(folder: DiskFolder): Promise<number> {
    return this.#disks.bytesOf(folder)
  }

  async storage(signal: AbortSignal): Promise<string> {
    signal.throwIfAborted()
    return await this.#disks.storage()
  }

  setDisksAside(uuid: string): Promise<LeftDisks> {
    return this.#disks.setAside(uuid)
  }

  bringDisksBack(uuid: string): Promise<void> {
    return this.#disks.bringBack(uuid)
  }

  removeDisksAside(uuid: string): Promise<void> {
    return this.#disks.removeAside(uuid)
  }

  takeDisks(domain: DomainSpec, left: LeftDisks, contents: DiskContents, signal: AbortSignal): Promise<void> {
    return this.#disks.take(domain, left, contents, signal)
  }

  async disksOf(uuid: string): Promise<LeftDisks> {
    const xml = await this.#xmlOf(uuid)
    if (xml !== undefined) await refuseUnsharedVolumes(uuid, xml)
    return await this.#disks.own(uuid)
  }

  async expectGuest(domain: DomainSpec, theirs: LeftDisks, signal: AbortSignal): Promise<LiveMigrateData> {
    await refuseOtherFiles(domain)
    const folder = await this.#disks.share(domain, theirs, signal)
    const { tcp } = (await this.#serialPorts.place(domain, signal)).serial
    const { inboundAddr, graphicsListen } = this.#migration
    return {
      folder,
      definition: definitionOf(domain).sha256,
      target_connect_addr: inboundAddr ?? null,
      graphics_listen_addr: graphicsListen ?? null,
      ...(tcp && { serial_listen_addr: tcp.listen, serial_listen_ports: tcp.port === undefined ? [] : [tcp.port] }),
    }
  }

  async liveMigrate(uuid: string, host: string, data: LiveMigrateData, signal: AbortSignal): Promise<void> {
    const xml = await this.domainXml(uuid, signal)
    this.#refuseForeign(uuid, xml)
    const ports = { libvirt: this.#libvirt, options: this.#migration, folder: this.#disks.folderOf(uuid) }
    await migrateLive(uuid, host, data, ports, signal)
  }

  async abortLiveMigration(uuid: string, signal: AbortSignal): Promise<void> {
    if (await this.#own(uuid, signal)) await abortMigration(uuid, this.#libvirt, signal)
  }

  async completeLiveMigration(uuid: string, signal: AbortSignal): Promise<boolean> {
    if (!(await this.#own(uuid, signal))) return false
    return completeMigration(uuid, { libvirt: this.#libvirt, options: this.#migration }, signal)
  }

  async welcomeGuest(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const { uuid } = domain
    const isOurs = await this.#own(uuid, signal)
    const found = isOurs ? await this.#libvirt.domainGetState(uuid, { signal }) : undefined
    // It was made to stand still before it was sent; one that is still coming stands still for another reason.
    const hasToGoOn = found?.state === 'paused' && found.reason === 'user'
    if (hasToGoOn) await this.#libvirt.domainResume(uuid)
    if (found === undefined || (!hasToGoOn && guestState(found.state) !== 'running')) {
      throw new MigrationError(`guest ${uuid} does not run here: it has not come`, { instance_uuid: uuid })
    }
    const placed = await this.#serialPorts.place(domain, signal)
    await this.#libvirt.domainDefineXmlFlags(definitionOf(placed).xml, FLAGS.defineValidate)
  }

  async define(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const { uuid } = domain
    await this.#own(uuid, signal)
    const placed = await this.#serialPorts.place(domain, signal)
    try {
      await this.#libvirt.domainDefineXmlFlags(definitionOf(placed).xml, FLAGS.defineValidate)
    } catch (error) {
      throw error instanceof LibvirtError ? startFailure(refusalOf(error), uuid) : error
    }
  }

  async spawn(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    const { uuid } = domain
    const definition = definitionOf(domain)
    if (await this.#runs(uuid, definition, signal)) return
    signal.throwIfAborted()
    await refuseOtherFiles(domain)
    const placed = await this.#serialPorts.place(domain, signal, true)
    try {
      await this.#libvirt.domainDefineXmlFlags(definitionOf(placed).xml, FLAGS.defineValidate)
      signal.throwIfAborted()
      await this.#start(uuid, signal)
    } catch (error) {
      throw error instanceof LibvirtError ? startFailure(refusalOf(error), uuid) : error
    }
  }

  /** @throws SpawnFailed when another guest has this uuid, or ours runs with another definition */
  async #runs(uuid: string, { sha256 }: Definition, signal: AbortSignal): Promise<boolean> {
    const xml = await this.#xmlOf(uuid, signal)
    if (xml === undefined) return false
    const owner = this.#refuseForeign(uuid, xml)
    const state = guestState((await this.#libvirt.domainGetState(uuid, { signal })).state)
    if (state === 'shutoff' || state === 'crashed') return false
    if (owner.sha256 === sha256) return true
    throw new SpawnFailed(`guest ${uuid} runs already, with another definition`, { instance_uuid: uuid })
  }

  /** The daemon goes on with a start that nobody waits for; `destroy` knows of it. */
  async #start(uuid: string, signal: AbortSignal, flags: number = FLAGS.startForceBoot): Promise<void> {
    const started = this.#libvirt.domainCreateWithFlags(uuid, flags)
    const over = started.then(ignored, ignored).finally(() => this.#starting.delete(uuid))
    this.#starting.set(uuid, over)
    await abortable(started, signal)
  }

  async *changes(signal: AbortSignal): AsyncGenerator<GuestChange> {
    const stream = this.#libvirt.events()
    const end = () => stream.end()
    signal.addEventListener('abort', end, { once: true })
    try {
      if (signal.aborted) return
      for await (const event of stream) yield event.kind === 'resync' ? { resync: event.why } : { uuid: event.uuid }
    } finally {
      signal.removeEventListener('abort', end)
      end()
    }
  }

  async shutdown(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#own(uuid, signal)
    await unlessRefused(this.#libvirt.domainShutdown(uuid, { signal }), VIR_ERR.operationInvalid, VIR_ERR.noDomain)
  }

  async powerOff(uuid: string): Promise<void> {
    if (await this.#own(uuid)) await this.#stop(uuid)
  }

  async pause(uuid: string): Promise<void> {
    if (await this.#own(uuid)) await this.#libvirt.domainSuspend(uuid)
  }

  async unpause(uuid: string): Promise<void> {
    if (await this.#own(uuid)) await this.#libvirt.domainResume(uuid)
  }

  async suspend(uuid: string): Promise<void> {
    if (await this.#own(uuid)) await this.#libvirt.domainManagedSave(uuid)
  }

  async hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean> {
    const has = this.#libvirt.domainHasManagedSaveImage(uuid, { signal })
    return (await unlessRefused(has, VIR_ERR.noDomain)) ?? false
  }

  async resume(uuid: string, signal: AbortSignal): Promise<void> {
    if (await this.#own(uuid, signal)) await this.#start(uuid, signal, 0)
  }

  copyRoot(uuid: string, signal: AbortSignal): Promise<void> {
    return this.#disks.copyRoot(uuid, signal)
  }

  storeCopy(uuid: string, image: StoredImage, signal: AbortSignal): Promise<number> {
    return this.#disks.storeCopy(uuid, image, signal)
  }

  removeRescueDisk(uuid: string): Promise<void> {
    return this.#disks.removeRescueDisk(uuid)
  }

  removeImage(uuid: string, imageId: string): Promise<void> {
    return this.#disks.removeImage(uuid, imageId)
  }

  removeCopy(uuid: string): Promise<void> {
    return this.#disks.removeCopy(uuid)
  }

  async attach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await plugIn(await this.#plugging(domain, device, signal))
  }

  async detach(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal): Promise<void> {
    await takeOut(await this.#plugging(domain, device, signal))
  }

  async #plugging(domain: DomainSpec, device: PluggedDevice, signal: AbortSignal) {
    const running = () => this.#runningXml(domain.uuid, signal)
    return { libvirt: this.#libvirt, domain: await this.#serialPorts.place(domain, signal), device, running }
  }

  /** The live document; undefined: the guest is off. @throws GuestNotFound, SpawnFailed when it is not ours */
  async #runningXml(uuid: string, signal: AbortSignal): Promise<string | undefined> {
    const xml = await this.domainXml(uuid, signal)
    this.#refuseForeign(uuid, xml)
    const { state } = await this.#libvirt.domainGetState(uuid, { signal })
    return ['running', 'paused'].includes(guestState(state)) ? xml : undefined
  }

  /** @returns false when there is no such guest @throws SpawnFailed when it is not ours */
  async #own(uuid: string, signal?: AbortSignal): Promise<boolean> {
    const xml = await this.#xmlOf(uuid, signal)
    if (xml !== undefined) this.#refuseForeign(uuid, xml)
    return xml !== undefined
  }

  async destroy(uuid: string): Promise<void> {
    const xml = await this.#xmlOf(uuid)
    if (xml === undefined) return
    this.#refuseForeign(uuid, xml)
    await this.#stop(uuid)
    const flags = FLAGS.undefineManagedSave | FLAGS.undefineSnapshotsMetadata | FLAGS.undefineNvram
    await unlessRefused(this.#libvirt.domainUndefineFlags(uuid, flags), VIR_ERR.noDomain)
    if ((await this.#xmlOf(uuid)) !== undefined)
      throw new SpawnFailed(`guest ${uuid} is still there after it was stopped and forgotten`, { instance_uuid: uuid })
    this.#serialPorts.release(uuid)
  }

  async *#definedGuests(signal: AbortSignal) {
    for (const { uuid } of await this.guests(signal)) {
      const xml = await this.#xmlOf(uuid, signal)
      if (xml !== undefined) yield { uuid, xml }
    }
  }

  /** Again and again while a start of ours is under way: QEMU may come up after the first word. */
  async #stop(uuid: string): Promise<void> {
    for (;;) {
      const starting = this.#starting.get(uuid)
      await unlessRefused(this.#libvirt.domainDestroyFlags(uuid), VIR_ERR.operationInvalid, VIR_ERR.noDomain)
      if (starting === undefined) return
      await endedWithin(STOP_AGAIN_MS, starting)
    }
  }

  /** The live document, or of a guest that does not run what it would run with; undefined: there is no such guest. */
  async #xmlOf(uuid: string, signal?: AbortSignal): Promise<string | undefined> {
    return await unlessRefused(this.#libvirt.domainGetXmlDesc(uuid, 0, signal && { signal }), VIR_ERR.noDomain)
  }

  #refuseForeign(uuid: string, xml: string) {
    const owner = ownershipOf(xml)
    if (owner.isOurs) return owner
    throw new SpawnFailed(`the domain ${uuid} on this host is not sevbus's; it is left alone`, {
      instance_uuid: uuid,
      fix: 'look who made it (virsh dumpxml), and undefine it if nobody needs it',
    })
  }

  async close(): Promise<void> {
    await this.#libvirt.close()
    await this.#disks.close()
  }
}

function ignored(): void {}

function refusalOf({ details, message }: LibvirtError) {
  return { code: Number(details.libvirt_code), message }
}

/** @returns undefined when libvirt refuses for one of these reasons */
async function unlessRefused<T>(asked: Promise<T>, ...codes: readonly (typeof VIR_ERR)[keyof typeof VIR_ERR][]) {
  try {
    return await asked
  } catch (error) {
    if (codes.some((code) => isLibvirtError(error, code))) return undefined
    throw error
  }
}
