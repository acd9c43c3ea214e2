import { ConductorApi } from '../conductor/rpc-api.ts'
import { InstanceInvalidState } from '../errors.ts'
import type { DiskReport } from '../objects/disk-report.ts'
import { strayDisksOf } from '../objects/stray-disks.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { isExpected } from './arrivals.ts'
import type { ComputePorts } from './compute-ports.ts'
import type { KnownTry } from './journal/state.ts'
import { untilDone } from './patience.ts'
import type { DiskFolder, Guest } from './virt-driver.ts'

type Ports = Pick<ComputePorts, 'host' | 'driver' | 'journal' | 'client' | 'logger' | 'retryDelaysMs'>

/** As many as a conductor tells at a time. */
const PAGE = 1000

export interface Stray {
  readonly uuid: string
  /** All, with what is left of its guest; or what was set aside for a move that is over. */
  readonly part: 'all' | 'aside'
  /** Before its conductor was asked: what the journal knows by now may be something later. */
  readonly known: KnownTry | undefined
}

/**
 * Guests that are off, or gone, whose disks are here, and whose instances are not: deleted, shelved or brought elsewhere while
 * this host was away, and what it was told of that was lost. Of those that are here, what a move has set aside that is over.
 * What no conductor knows is none of them: it may be another cloud's, or of a database that was restored.
 *
 * @param only of this instance; undefined: of all
 * @throws the signal's reason
 */
export async function strayDisks(ports: Ports, signal: AbortSignal, only?: string): Promise<readonly Stray[]> {
  const { driver, logger, client, host } = ports
  const context = newRequestContext()
  const patience = { ...ports, request_id: context.request_id }
  // Before anybody is asked: what is made from now on is no stray.
  const found = await untilDone('look for disks', () => disksAtRest(ports, signal), patience, signal)
  const uuids = [...found.keys()].filter((uuid) => only === undefined || uuid === only)
  const before = new Map(uuids.map((uuid) => [uuid, ports.journal.known(uuid)]))
  const strays: Stray[] = []
  for (let from = 0; from < uuids.length; from += PAGE) {
    const page = uuids.slice(from, from + PAGE)
    const conductor = client.of(ConductorApi)
    const ask = async () =>
      (await conductor.listInstanceStates(context, { uuids: page, limit: PAGE }, { signal })).instances
    const known = await untilDone('ask the conductor whose disks are here', ask, patience, signal)
    const states = new Map(known.map((state) => [state.uuid, state]))
    for (const uuid of page) {
      const state = states.get(uuid)
      if (state === undefined) {
        logger.warn({ uuid, driver: driver.description }, 'disks of no known instance: left alone')
        continue
      }
      const part = strayDisksOf(state, host)
      const { isOff, hasAside } = found.get(uuid) as AtRest
      if (part === 'all' ? isOff : part === 'aside' && hasAside) {
        strays.push({ uuid, part: part as Stray['part'], known: before.get(uuid) })
      }
    }
  }
  return strays
}

interface AtRest {
  readonly isOff: boolean
  readonly hasAside: boolean
}

/** By uuid, of those that nothing is done to here. */
async function disksAtRest({ driver, journal }: Ports, signal: AbortSignal): Promise<ReadonlyMap<string, AtRest>> {
  const folders = await driver.diskFolders(signal)
  const guests = new Map((await driver.guests(signal)).map(({ uuid, state }) => [uuid, state]))
  const found = new Map<string, AtRest>()
  for (const { uuid, aside } of folders) {
    if (hasWork(journal, uuid)) continue
    found.set(uuid, { isOff: isOff(guests.get(uuid)), hasAside: aside || found.get(uuid)?.hasAside === true })
  }
  return found
}

function isOff(state: Guest['state'] | undefined): boolean {
  return state === undefined || state === 'shutoff' || state === 'crashed'
}

/** Nothing was begun for it since, and it is off. */
export async function isStray(
  { driver, journal }: Ports,
  { uuid, known, part }: Stray,
  signal: AbortSignal,
): Promise<boolean> {
  if (hasWork(journal, uuid) || journal.known(uuid) !== known) return false
  return part === 'aside' || isOff((await driver.guest(uuid, signal))?.state)
}

export function stillNeeded(uuid: string, host: string): InstanceInvalidState {
  const fix = 'audit again: sevbus audit'
  const why = 'its instance is here, something is being done to it, or no conductor knows it'
  return new InstanceInvalidState(`the disks that ${host} has of ${uuid} stay: ${why}; ${fix}`, {
    instance_uuid: uuid,
    host,
    fix,
  })
}

function hasWork(journal: Ports['journal'], uuid: string): boolean {
  const begun = journal.build(uuid) ?? journal.termination(uuid) ?? journal.action(uuid)
  return begun !== undefined || isExpected(journal, uuid)
}

/**
 * Folders that no guest of this host has for its own, for others to say whether anybody needs them.
 *
 * @param folders as they were before the guests were looked at
 */
export async function unusedDisks(
  { driver, journal }: Pick<Ports, 'driver' | 'journal'>,
  folders: readonly DiskFolder[],
  guests: readonly Guest[],
): Promise<readonly DiskReport[]> {
  const here = new Set(guests.map(({ uuid }) => uuid))
  const unused = folders.filter(({ uuid, aside }) => (aside || !here.has(uuid)) && !hasWork(journal, uuid))
  return await Promise.all(unused.map(async (folder) => ({ ...folder, bytes: await driver.diskBytes(folder) })))
}
