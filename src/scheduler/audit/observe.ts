import { ComputeApi } from '../../compute/rpc-api.ts'
import { ConductorApi } from '../../conductor/rpc-api.ts'
import type { Database } from '../../database/database.ts'
import { MessagingTimeout, NoSuchServer, type SevbusError, toSevbusError, UnsupportedVersion } from '../../errors.ts'
import type { InstanceState } from '../../objects/instance.ts'
import type { RpcClient } from '../../rpc/client.ts'
import type { RequestInfo } from '../../rpc/contract.ts'
import { Limiter } from '../../rpc/limiter.ts'
import { type PageAfter, pages } from '../../rpc/page.ts'
import type { HostLook, Observation } from './observation.ts'
import { heldClaims, inventories, knownHosts } from './tables.ts'

/** Hosts that are asked at a time. */
const ASKED_AT_A_TIME = 32
/** A host that has not answered by then is not judged, in milliseconds. */
const HOST_TIMEOUT_MS = 5000
const CONDUCTOR_TIMEOUT_MS = 15_000
/** The contract's largest list of uuids. */
const UUIDS_AT_A_TIME = 1000
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

export interface ObservePorts {
  readonly database: Database
  readonly client: Pick<RpcClient, 'of'>
}

export interface Observed {
  readonly seen: Observation
  /** Why there is no word of instances. */
  readonly conductorTrouble: string | undefined
}

/**
 * Looks at everything once: hosts first, then the tables, then the conductor. What the conductor says is the youngest, so
 * that of what is built meanwhile it already says that it is being built.
 *
 * @param hosts of these only; undefined: of every host that placement, a claim or an instance names
 */
export async function observe(
  ports: ObservePorts,
  hosts: readonly string[] | undefined,
  info: RequestInfo,
): Promise<Observed> {
  const look = new Look(ports, info)
  await look.askHosts(hosts ?? (await knownHosts(ports.database)))
  const claims = await heldClaims(ports.database, hosts)
  const rows = await inventories(ports.database, hosts)
  let conductorTrouble: string | undefined
  try {
    await look.askConductor(hosts)
    await look.askAbout(claims.map(({ instance }) => instance))
    // Where instances live whose guests or claims are here: whether one is the only one cannot be told without.
    await look.askHosts([...claims.map(({ host }) => host), ...look.homes()])
    await look.askAbout([])
  } catch (thrown) {
    info.signal.throwIfAborted()
    conductorTrouble = toSevbusError(thrown).message
  }
  const instances = conductorTrouble === undefined ? look.instances : undefined
  const scope = new Set(hosts ?? look.hosts.keys())
  return { seen: { scope, hosts: look.hosts, claims, instances, inventories: rows }, conductorTrouble }
}

/** One look while it is taken. */
class Look {
  readonly hosts = new Map<string, HostLook>()
  readonly instances = new Map<string, InstanceState>()
  readonly #asked = new Set<string>()
  readonly #info: RequestInfo
  readonly #compute
  readonly #conductor

  constructor({ client }: ObservePorts, info: RequestInfo) {
    this.#info = info
    this.#compute = client.of(ComputeApi)
    this.#conductor = client.of(ConductorApi)
  }

  async askHosts(hosts: readonly string[]): Promise<void> {
    const limiter = new Limiter(ASKED_AT_A_TIME)
    const fresh = [...new Set(hosts)].filter((host) => !this.hosts.has(host))
    const looks = await Promise.all(fresh.map((host) => limiter.run(() => this.#askHost(host))))
    for (const [index, host] of fresh.entries()) this.hosts.set(host, looks[index] as HostLook)
  }

  /** Hosts where the conductor has instances that it named so far. */
  homes(): readonly string[] {
    return [...this.instances.values()].flatMap(({ host }) => host ?? [])
  }

  /** All that are not deleted; or those on these hosts. */
  async askConductor(hosts: readonly string[] | undefined): Promise<void> {
    for (const only of hosts === undefined ? [{}] : hosts.map((host) => ({ host }))) {
      const ask = (after: PageAfter) => this.#askStates({ ...only, ...after })
      for await (const page of pages(ask, ({ uuid }) => uuid)) this.#keep(page)
    }
  }

  /** The others that guests or these name, deleted ones among them. One that is not known is asked about once. */
  async askAbout(uuids: readonly string[]): Promise<void> {
    const unknown = [...new Set(this.#unknown(uuids))]
    for (let at = 0; at < unknown.length; at += UUIDS_AT_A_TIME) {
      this.#keep(await this.#askStates({ uuids: unknown.slice(at, at + UUIDS_AT_A_TIME) }))
    }
    for (const uuid of unknown) this.#asked.add(uuid)
  }

  *#unknown(uuids: readonly string[]): Iterable<string> {
    const isUnknown = (uuid: string) => !this.instances.has(uuid) && !this.#asked.has(uuid) && UUID.test(uuid)
    for (const uuid of uuids) if (isUnknown(uuid)) yield uuid
    for (const look of this.hosts.values()) {
      if (!look.answered) continue
      for (const { uuid } of [...look.guests, ...(look.disks ?? [])]) {
        if (isUnknown(uuid.toLowerCase())) yield uuid.toLowerCase()
      }
    }
  }

  async #askStates(query: object): Promise<readonly InstanceState[]> {
    const { context, signal } = this.#info
    const options = { signal, timeoutMs: CONDUCTOR_TIMEOUT_MS }
    return (await this.#conductor.listInstanceStates(context, query, options)).instances
  }

  #keep(instances: readonly InstanceState[]): void {
    for (const instance of instances) this.instances.set(instance.uuid, instance)
  }

  async #askHost(host: string): Promise<HostLook> {
    const { context, signal } = this.#info
    signal.throwIfAborted()
    try {
      const options = { server: host, signal, timeoutMs: HOST_TIMEOUT_MS }
      return { answered: true, ...(await this.#compute.listGuests(context, {}, options)) }
    } catch (thrown) {
      signal.throwIfAborted()
      return { answered: false, reason: silence(toSevbusError(thrown)) }
    }
  }
}

/** Why a host is not judged, for those who know hosts and no queues. */
function silence(error: SevbusError): string {
  if (error instanceof UnsupportedVersion) return 'its worker is of an earlier release'
  if (error instanceof NoSuchServer) return 'no compute worker has this name on the bus'
  if (error instanceof MessagingTimeout)
    return `no answer within ${HOST_TIMEOUT_MS / 1000} s: its worker does not run, or hangs`
  return error.message
}
