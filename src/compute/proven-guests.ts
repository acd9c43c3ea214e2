/**
 * The guests that have proven their encryption, by the id of the domain, which each start has another of: a guest that somebody else
 * has started since then is none of them. In memory alone: who takes over the host has all of them prove it anew.
 */
export class ProvenGuests {
  readonly #domainIds = new Map<string, number>()
  /** Their instances have nothing to prove, however often they are started. */
  readonly #inClear = new Set<string>()

  /** @param domainId of the domain whose document was looked at */
  note(uuid: string, domainId: number): void {
    this.#inClear.delete(uuid)
    this.#domainIds.set(uuid, domainId)
  }

  noteInClear(uuid: string): void {
    this.#domainIds.delete(uuid)
    this.#inClear.add(uuid)
  }

  has(uuid: string, domainId: number | undefined): boolean {
    return domainId !== undefined && this.#domainIds.get(uuid) === domainId
  }

  isInClear(uuid: string): boolean {
    return this.#inClear.has(uuid)
  }

  /** Whatever it is now, it may be another guest that is started next. */
  forget(uuid: string): void {
    this.#domainIds.delete(uuid)
    this.#inClear.delete(uuid)
  }

  /** Of other guests there is nothing to know any more. */
  keepOnly(uuids: readonly string[]): void {
    const kept = new Set(uuids)
    for (const uuid of [...this.#domainIds.keys(), ...this.#inClear]) if (!kept.has(uuid)) this.forget(uuid)
  }

  /** A hypervisor that was started anew may count from the beginning. */
  forgetDomains(): void {
    this.#domainIds.clear()
  }
}
