import { ConductorApi } from '../conductor/rpc-api.ts'
import type { InstanceState } from '../objects/instance.ts'
import { newRequestContext } from '../rpc/request-context.ts'
import { isExpected } from './arrivals.ts'
import type { ComputePorts } from './compute-ports.ts'
import type { KnownTry } from './journal/state.ts'
import { untilDone } from './patience.ts'

type Ports = Pick<ComputePorts, 'host' | 'driver' | 'journal' | 'client' | 'logger' | 'retryDelaysMs'>

/** As many as a conductor tells at a time. */
const PAGE = 1000

export interface Stray {
  readonly uuid: string
  /** Before its conductor was asked: what the journal knows by now may be something later. */
  readonly known: KnownTry | undefined
}

/**
 * Guests that are off, or gone, whose disks are here, and whose instances are not: deleted, shelved or brought elsewhere while
 * this host was away, and what it was told of that was lost. What no conductor knows is none of them: it may be another
 * cloud's, or of a database that was restored.
 *
 * @throws the signal's reason
 */
export async function strayDisks(ports: Ports, signal: AbortSignal): Promise<readonly Stray[]> {
  const { driver, logger, client } = ports
  const context = newRequestContext()
  const patience = { ...ports, request_id: context.request_id }
  // Before anybody is asked: what is made from now on is no stray.
  const found = await untilDone('look for disks', () => offWithDisks(ports, signal), patience, signal)
  const before = new Map(found.map((uuid) => [uuid, ports.journal.known(uuid)]))
  const strays: Stray[] = []
  for (let from = 0; from < found.length; from += PAGE) {
    const uuids = found.slice(from, from + PAGE)
    const conductor = client.of(ConductorApi)
    const ask = async () => (await conductor.listInstanceStates(context, { uuids, limit: PAGE }, { signal })).instances
    const known = await untilDone('ask the conductor whose disks are here', ask, patience, signal)
    const states = new Map(known.map((state) => [state.uuid, state]))
    for (const uuid of uuids) {
      const state = states.get(uuid)
      if (state === undefined)
        logger.warn({ uuid, driver: driver.description }, 'disks of no known instance: left alone')
      else if (isElsewhere(state, ports.host)) strays.push({ uuid, known: before.get(uuid) })
    }
  }
  return strays
}

async function offWithDisks({ driver, journal }: Ports, signal: AbortSignal): Promise<readonly string[]> {
  const uuids = await driver.guestsWithDisks(signal)
  const guests = new Map((await driver.guests(signal)).map(({ uuid, state }) => [uuid, state]))
  return uuids.filter((uuid) => isOff(guests.get(uuid)) && !hasWork(journal, uuid))
}

function isOff(state: string | undefined): boolean {
  return state === undefined || state === 'shutoff' || state === 'crashed'
}

/** Nothing was begun for it since, and it is off. */
export async function isStray(
  { driver, journal }: Ports,
  { uuid, known }: Stray,
  signal: AbortSignal,
): Promise<boolean> {
  if (hasWork(journal, uuid) || journal.known(uuid) !== known) return false
  return isOff((await driver.guest(uuid, signal))?.state)
}

function hasWork(journal: Ports['journal'], uuid: string): boolean {
  const begun = journal.build(uuid) ?? journal.termination(uuid) ?? journal.action(uuid)
  return begun !== undefined || isExpected(journal, uuid)
}

/** At rest, and nothing that could still be said to this host has to do with it. */
function isElsewhere({ host, leaving, task_state, messages_waiting, hosts_waiting }: InstanceState, here: string) {
  const isHere = host === here || leaving === here || hosts_waiting.includes(here)
  return !isHere && task_state === null && !messages_waiting
}
