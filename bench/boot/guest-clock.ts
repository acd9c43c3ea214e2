import { Libvirt } from '../../dist/compute/libvirt/rpc/libvirt.js'

/** When libvirt told of a guest, by this process's clock. */
export interface GuestTimes {
  readonly definedMs: number
  readonly startedMs: number
}

/** Hears by a connection of its own when guests are defined and run, whoever makes them. */
export class GuestClock {
  readonly #libvirt: Libvirt
  readonly #defined = new Map<string, number>()
  readonly #started = new Map<string, PromiseWithResolvers<number>>()

  constructor(uri: string) {
    this.#libvirt = new Libvirt({ uri, onTrouble: ({ message }) => console.error(message) })
  }

  /** Resolves when nothing more will be missed. */
  async open(): Promise<void> {
    const events = this.#libvirt.events()
    await events.next()
    void this.#listen(events)
  }

  /** Resolves when the guest runs. Ask before it is made. */
  async times(uuid: string): Promise<GuestTimes> {
    const startedMs = await this.#startOf(uuid).promise
    return { definedMs: this.#defined.get(uuid) ?? Number.NaN, startedMs }
  }

  async #listen(events: ReturnType<Libvirt['events']>): Promise<void> {
    for await (const event of events) {
      const now = performance.now()
      if (event.kind === 'resync') throw new Error(`events may be missing: ${event.why}`)
      if (event.kind !== 'lifecycle') continue
      if (event.event === 'defined') this.#defined.set(event.uuid, now)
      if (event.event === 'started') this.#startOf(event.uuid).resolve(now)
    }
  }

  #startOf(uuid: string): PromiseWithResolvers<number> {
    const known = this.#started.get(uuid) ?? withResolvers()
    this.#started.set(uuid, known)
    return known
  }

  async close(): Promise<void> {
    await this.#libvirt.close()
  }
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
}

function withResolvers(): PromiseWithResolvers<number> {
  let resolve: (value: number) => void = () => {}
  const promise = new Promise<number>((fulfil) => {
    resolve = fulfil
  })
  return { promise, resolve }
}
