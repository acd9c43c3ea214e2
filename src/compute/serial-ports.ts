import { createServer } from 'node:net'
import { HostCapabilityMissing } from '../errors.ts'
import type { DomainSpec, SerialConsoleSpec } from './libvirt/domain-spec.ts'
import { parseDomain } from './libvirt/parse-domain.ts'
import { attribute, child, children } from './libvirt/parse-xml.ts'

/** The document of each guest that is defined on the host, whoever defined it. */
export type DefinedGuests = (signal: AbortSignal) => AsyncIterable<{ readonly uuid: string; readonly xml: string }>

/**
 * Which TCP port the serial console of which guest has. A guest keeps its port as long as it is defined here, over restarts of
 * the worker, too: the documents of guests are what is known then.
 */
export class SerialPorts {
  readonly #defined: DefinedGuests
  readonly #isFree: (listen: string, port: number) => Promise<boolean>
  readonly #ports = new Map<string, number>()
  #read: Promise<void> | undefined

  constructor(defined: DefinedGuests, isFree = mayListen) {
    this.#defined = defined
    this.#isFree = isFree
  }

  /**
   * The domain with a port, where it is to have one.
   *
   * @param starts it does not run: a port that somebody else has taken meanwhile is changed for another
   * @throws HostCapabilityMissing when none is free
   */
  async place(domain: DomainSpec, signal: AbortSignal, starts = false): Promise<DomainSpec> {
    const { tcp } = domain.serial
    if (tcp === undefined) return domain
    this.#read ??= this.#readDefined(signal).catch((error: unknown) => {
      this.#read = undefined
      throw error
    })
    await this.#read
    const port = await this.#portOf(domain.uuid, tcp, starts)
    return { ...domain, serial: { ...domain.serial, tcp: { ...tcp, port } } }
  }

  /** The guest is not defined here any more. */
  release(uuid: string): void {
    this.#ports.delete(uuid)
  }

  async #portOf(uuid: string, { listen, ports: [first, last] }: SerialConsoleSpec, starts: boolean): Promise<number> {
    const own = this.#ports.get(uuid)
    const isInRange = own !== undefined && own >= first && own <= last
    if (isInRange && (!starts || (await this.#isFree(listen, own)))) return own
    for (let port = first; port <= last; port++) {
      if ([...this.#ports.values()].includes(port)) continue
      // Before it is tried: others look for one meanwhile.
      this.#ports.set(uuid, port)
      if (await this.#isFree(listen, port)) return port
    }
    this.#ports.delete(uuid)
    const fix = 'widen compute.serial_console_port_range'
    throw new HostCapabilityMissing(`no port from ${first} to ${last} is free for a serial console; ${fix}`, { fix })
  }

  async #readDefined(signal: AbortSignal): Promise<void> {
    for await (const { uuid, xml } of this.#defined(signal)) {
      const port = serialPortOf(xml)
      if (port !== undefined) this.#ports.set(uuid, port)
    }
  }
}

function serialPortOf(xml: string): number | undefined {
  const devices = child(parseDomain(xml), 'devices')
  const tcp = children(devices, 'serial').find((serial) => attribute(serial, 'type') === 'tcp')
  const port = Number(attribute(child(tcp, 'source'), 'service') ?? Number.NaN)
  return Number.isInteger(port) && port > 0 ? port : undefined
}

/** As Nova tries it. What takes the port in between makes the guest's start fail, and is tried elsewhere. */
function mayListen(host: string, port: number): Promise<boolean> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', () => resolve(false))
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(true)))
  })
}
