import { setTimeout as sleep } from 'node:timers/promises'
import { LibvirtError, SevbusError, SpawnFailed } from '../../../errors.ts'
import { abortable, endedWithin } from '../../../rpc/abortable.ts'
import { doesNotAnswer } from '../../patience.ts'
import type { SerialPorts } from '../../serial-ports.ts'
import type { DomainSpec } from '../domain-spec.ts'
import { FLAGS, type Libvirt } from '../rpc/libvirt.ts'
import { isLibvirtError, VIR_ERR } from '../rpc/remote-error.ts'
import { type Definition, definitionOf } from './definition.ts'
import { guestState } from './guest-state.ts'
import { type OwnDomains, refuseForeign } from './own-domains.ts'
import { startFailure } from './start-failure.ts'
import { unlessRefused } from './unless-refused.ts'
import { refuseOtherFiles } from './volume-files.ts'

/** How often a guest that is being started is told to stop. */
const STOP_AGAIN_MS = 50
/**
 * A daemon that hung reads what lost connections have sent while it answers the next one: so long after its first answer a definition
 * may still come, which takes it some 20 ms. Seen of libvirt 9.0.
 */
const LATE_DEFINITION_MS = 2_000
const LOOK_AGAIN_MS = 50
/** A daemon that takes so long to say whether a guest is here may have hung. */
const HUNG_MS = 2_000

export interface GuestPowerPorts {
  readonly libvirt: Libvirt
  readonly domains: OwnDomains
  readonly serialPorts: SerialPorts
}

/** Defines guests, starts them, has them stand still, and ends them. */
export class GuestPower {
  readonly #libvirt: Libvirt
  readonly #domains: OwnDomains
  readonly #serialPorts: SerialPorts
  /** Starts that the daemon may be at, though nobody waits for them any more. */
  readonly #starting = new Map<string, Promise<void>>()
  /** Guests whose definition may still be made: it was sent and never answered, here or, for all that is known, by a worker that died. */
  readonly #undecided = new Set<string>()

  constructor({ libvirt, domains, serialPorts }: GuestPowerPorts) {
    this.#libvirt = libvirt
    this.#domains = domains
    this.#serialPorts = serialPorts
  }

  async define(domain: DomainSpec, signal: AbortSignal): Promise<void> {
    await this.#domains.has(domain.uuid, signal)
    const placed = await this.#serialPorts.place(domain, signal)
    await asStart(domain.uuid, () => this.#define(domain.uuid, definitionOf(placed)))
  }

  async spawn(domain: DomainSpec, signal: AbortSignal, disksMade = Promise.resolve()): Promise<void> {
    const { uuid } = domain
    const definition = definitionOf(domain)
    // It may be over here before anybody waits for them.
    disksMade.catch(ignored)
    if (await this.#runs(uuid, definition, signal)) return await disksMade
    signal.throwIfAborted()
    await refuseOtherFiles(domain)
    // A port that is free now may not be when an image has been downloaded.
    if (domain.serial.tcp !== undefined) await disksMade
    const placed = await this.#serialPorts.place(domain, signal, true)
    await asStart(uuid, () => this.#define(uuid, placed === domain ? definition : definitionOf(placed)))
    await disksMade
    signal.throwIfAborted()
    // Once more, for that may have taken a while.
    await refuseOtherFiles(domain)
    await asStart(uuid, () => this.#start(uuid, FLAGS.startForceBoot, signal))
  }

  /** With the memory that was saved. */
  async resume(uuid: string, signal: AbortSignal): Promise<void> {
    if (!(await this.#domains.has(uuid, signal))) return
    // That it runs already is no failure of its start.
    await asStart(uuid, () => this.#start(uuid, 0, signal), VIR_ERR.operationInvalid)
  }

  async shutdown(uuid: string, signal: AbortSignal): Promise<void> {
    await this.#domains.has(uuid, signal)
    await unlessRefused(this.#libvirt.domainShutdown(uuid, { signal }), VIR_ERR.operationInvalid, VIR_ERR.noDomain)
  }

  async powerOff(uuid: string): Promise<void> {
    if (await this.#domains.has(uuid)) await this.#stop(uuid)
  }

  async pause(uuid: string): Promise<void> {
    if (await this.#domains.has(uuid)) await this.#libvirt.domainSuspend(uuid)
  }

  async unpause(uuid: string): Promise<void> {
    if (await this.#domains.has(uuid)) await this.#libvirt.domainResume(uuid)
  }

  async suspend(uuid: string): Promise<void> {
    if (await this.#domains.has(uuid)) await this.#libvirt.domainManagedSave(uuid)
  }

  async hasSavedMemory(uuid: string, signal: AbortSignal): Promise<boolean> {
    const has = this.#libvirt.domainHasManagedSaveImage(uuid, { signal })
    return (await unlessRefused(has, VIR_ERR.noDomain)) ?? false
  }

  async destroy(uuid: string): Promise<void> {
    await this.#remove(uuid)
    if (!this.#undecided.has(uuid)) return
    const end = performance.now() + LATE_DEFINITION_MS
    while (performance.now() < end) {
      await sleep(LOOK_AGAIN_MS)
      await this.#remove(uuid)
    }
    this.#undecided.delete(uuid)
  }

  async #remove(uuid: string): Promise<void> {
    // One that was not defined may have been given a port.
    if (!(await this.#isHere(uuid))) return this.#serialPorts.release(uuid)
    await this.#stop(uuid)
    const flags = FLAGS.undefineManagedSave | FLAGS.undefineSnapshotsMetadata | FLAGS.undefineNvram
    await unlessRefused(this.#libvirt.domainUndefineFlags(uuid, flags), VIR_ERR.noDomain)
    if ((await this.#domains.find(uuid)) !== undefined) {
      const fix = `look what keeps it: virsh dominfo ${uuid}, and libvirtd's log`
      const words = `guest ${uuid} is still there after it was stopped and forgotten; ${fix}`
      throw new SpawnFailed(words, { instance_uuid: uuid, fix })
    }
    this.#serialPorts.release(uuid)
  }

  /** A daemon that hung before it says so has perhaps not read yet what an earlier worker sent. */
  async #isHere(uuid: string): Promise<boolean> {
    const askedMs = performance.now()
    const isHere = await this.#orUndecided(uuid, this.#domains.has(uuid))
    if (performance.now() - askedMs >= HUNG_MS) this.#undecided.add(uuid)
    return isHere
  }

  async #define(uuid: string, { xml }: Definition): Promise<void> {
    await this.#orUndecided(uuid, this.#libvirt.domainDefineXmlFlags(xml, FLAGS.defineValidate))
  }

  async #orUndecided<T>(uuid: string, asked: Promise<T>): Promise<T> {
    try {
      return await asked
    } catch (error) {
      if (error instanceof SevbusError && doesNotAnswer(error)) this.#undecided.add(uuid)
      throw error
    }
  }

  /** @throws SpawnFailed when another guest has this uuid, or ours runs with another definition */
  async #runs(uuid: string, { sha256 }: Definition, signal: AbortSignal): Promise<boolean> {
    const xml = await this.#domains.find(uuid, signal)
    if (xml === undefined) return false
    const owner = refuseForeign(uuid, xml)
    const state = guestState((await this.#libvirt.domainGetState(uuid, { signal })).state)
    if (state === 'shutoff' || state === 'crashed') return false
    if (owner.sha256 === sha256) return true
    const fix = 'power it off first, or reboot it hard (sevbus reboot --hard)'
    const words = `guest ${uuid} runs already, with another definition; ${fix}`
    throw new SpawnFailed(words, { instance_uuid: uuid, fix })
  }

  /** The daemon goes on with a start that nobody waits for; `#stop` knows of it. */
  async #start(uuid: string, flags: number, signal: AbortSignal): Promise<void> {
    const started = this.#libvirt.domainCreateWithFlags(uuid, flags)
    const over = started.then(ignored, ignored).finally(() => {
      // Another one may have been begun since.
      if (this.#starting.get(uuid) === over) this.#starting.delete(uuid)
    })
    this.#starting.set(uuid, over)
    await abortable(started, signal)
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
}

function ignored(): void {}

/** What libvirt refuses is told as the failure of a start that it is. */
async function asStart(
  uuid: string,
  body: () => Promise<void>,
  ...but: Parameters<typeof isLibvirtError>[1][]
): Promise<void> {
  try {
    await body()
  } catch (error) {
    if (!(error instanceof LibvirtError) || but.some((code) => isLibvirtError(error, code))) throw error
    throw startFailure({ code: Number(error.details.libvirt_code), message: error.message }, uuid)
  }
}
