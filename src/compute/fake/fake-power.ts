import { setTimeout as sleep } from 'node:timers/promises'
import { SpawnFailed } from '../../errors.ts'
import type { MemEncryptionModel } from '../../objects/mem-encryption.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { domainXml } from '../libvirt/domain-xml.ts'
import { type Definition, readDefinition } from './definition.ts'
import { type KeyHolders, refuseWithoutKey } from './fake-keys.ts'
import { type FakeMachine, invalidOperation } from './fake-machine.ts'
import type { StoredGuest } from './guest-store.ts'

/** Starts and stops simulated guests, which take keys as long as they run. */
export class FakePower {
  readonly #machine: FakeMachine
  /** Guests whose QEMU starts now: their key is taken already. */
  readonly #starting = new Map<string, MemEncryptionModel | undefined>()
  /** Guests that were asked to shut down and will. */
  readonly #shuttingDown = new Set<NodeJS.Timeout>()

  constructor(machine: FakeMachine) {
    this.#machine = machine
  }

  async define(domain: DomainSpec): Promise<void> {
    const xml = domainXml(domain)
    const { uuid } = readDefinition(xml, this.#machine.capabilities)
    await this.#machine.keep(uuid, { definition: xml, state: 'shutoff' })
  }

  /** Defined at once, as by libvirt, and started when its disks are made. */
  async spawn(domain: DomainSpec, signal: AbortSignal, disksMade?: Promise<void>): Promise<void> {
    const xml = domainXml(domain)
    const definition = readDefinition(xml, this.#machine.capabilities)
    const existing = this.#machine.store.guests.get(definition.uuid)
    if (existing?.state === 'running' && existing.definition === xml) return await disksMade
    if (existing?.state === 'running')
      throw new SpawnFailed(`guest ${domain.uuid} runs already, with another definition`)
    await this.#machine.keep(definition.uuid, { definition: xml, state: 'shutoff' })
    await disksMade
    await this.#machine.answers(signal)
    await this.#start(xml, definition, signal)
  }

  /** With the document that the guest has. */
  async startDefined(uuid: string, signal: AbortSignal): Promise<void> {
    const guest = this.#machine.store.guests.get(uuid)
    if (guest?.state !== 'shutoff') throw invalidOperation('domain is not shutoff')
    await this.#start(guest.definition, readDefinition(guest.definition, this.#machine.capabilities), signal)
  }

  async resume(uuid: string, signal: AbortSignal): Promise<void> {
    const guest = this.#machine.store.guests.get(uuid)
    if (guest?.saved !== true) throw invalidOperation('domain has no managed save image')
    await this.startDefined(uuid, signal)
  }

  /** Guests that run or start. */
  keyHolders(): KeyHolders {
    const running = [...this.#machine.store.guests.values()].filter(({ state }) => state !== 'shutoff')
    return [...running.map(({ model }) => model), ...this.#starting.values()]
  }

  /** Stays defined when it cannot start, as with libvirt; `destroy` forgets it. */
  async #start(xml: string, definition: Definition, signal: AbortSignal): Promise<void> {
    const { facts, store } = this.#machine
    this.#refuseWithoutDisks(definition)
    refuseWithoutKey(definition.model, facts, this.keyHolders())
    const { uuid, model } = definition
    this.#starting.set(uuid, model)
    try {
      await this.#qemuStarts(signal)
      this.#machine.refuseByFault(uuid)
      const clear = this.#machine.facts.starts_in_clear
      const live = clear ? xml.replace(/<launchSecurity[\s\S]*<\/launchSecurity>/, '') : xml
      store.guests.set(uuid, this.#machine.started({ definition: xml, ...(model && { model }) }, live))
    } finally {
      this.#starting.delete(uuid)
    }
    await store.save(uuid)
  }

  #refuseWithoutDisks({ uuid, diskFiles }: Definition): void {
    const made = this.#machine.store.disks.get(uuid) ?? []
    const lacking = diskFiles.find((file) => !made.includes(file))
    if (lacking !== undefined)
      throw new SpawnFailed(`Cannot access storage file '${lacking}': No such file or directory`)
  }

  async #qemuStarts(signal: AbortSignal): Promise<void> {
    const { spawn_delay_ms: delayMs } = this.#machine.facts
    // The timer's own error hides who gave up; the signal's reason says it.
    if (delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => signal.throwIfAborted())
  }

  /** Its guests follow at once, or after a while, or never. */
  async shutdown(uuid: string): Promise<void> {
    const { shutdown_delay_ms: delayMs } = this.#machine.facts
    if (delayMs === Number.POSITIVE_INFINITY) return
    const { guests } = this.#machine.store
    const asked = guests.get(uuid)
    const follow = async () => {
      if (guests.get(uuid) === asked && asked?.state === 'running') await this.powerOff(uuid)
    }
    if (delayMs === 0) return await follow()
    const timer = setTimeout(() => {
      this.#shuttingDown.delete(timer)
      follow().catch(() => {})
    }, delayMs)
    this.#shuttingDown.add(timer)
  }

  async powerOff(uuid: string): Promise<void> {
    const guest = this.#machine.store.guests.get(uuid)
    if (guest === undefined || guest.state === 'shutoff') return
    await this.#machine.keep(uuid, { definition: guest.definition, state: 'shutoff' })
  }

  async turn(uuid: string, from: StoredGuest['state'], to: StoredGuest['state']): Promise<void> {
    const guest = this.#machine.store.guests.get(uuid)
    if (guest?.state !== from) throw invalidOperation(`domain is not ${from}`)
    await this.#machine.keep(uuid, { ...guest, state: to })
  }

  async suspend(uuid: string): Promise<void> {
    const guest = this.#machine.store.guests.get(uuid)
    if (guest === undefined || guest.state === 'shutoff') throw invalidOperation('domain is not running')
    if (guest.model !== undefined) throw invalidOperation('cannot migrate domain: SEV: Migration is not implemented')
    await this.#machine.keep(uuid, { definition: guest.definition, state: 'shutoff', saved: true })
  }

  close(): void {
    for (const timer of this.#shuttingDown) clearTimeout(timer)
  }
}
