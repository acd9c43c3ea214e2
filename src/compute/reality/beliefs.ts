import { ConductorApi } from '../../conductor/rpc-api.ts'
import type { InstanceState } from '../../objects/instance.ts'
import { pages } from '../../rpc/page.ts'
import { newRequestContext } from '../../rpc/request-context.ts'
import type { ComputePorts } from '../compute-ports.ts'

/** What the conductor has of an instance, and under which number of its actions. */
export type Belief = InstanceState & { readonly last_action: number }

/** As many as a conductor tells at a time. */
const PAGE = 1000

/**
 * @param uuids of these instances, wherever they are; undefined: of all on this host
 * @throws the signal's reason, or why the conductor does not tell
 */
export async function beliefsOf(
  { host, client }: Pick<ComputePorts, 'host' | 'client'>,
  uuids: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<readonly Belief[]> {
  const conductor = client.of(ConductorApi)
  const context = newRequestContext()
  const found: Belief[] = []
  const ask = async (query: object) =>
    (await conductor.listInstanceStates(context, { limit: PAGE, ...query }, { signal })).instances
  // A conductor that does not tell the number could not take a report either.
  const keep = (told: readonly InstanceState[]) =>
    found.push(...told.filter((instance): instance is Belief => instance.last_action !== undefined))
  if (uuids !== undefined) {
    for (let from = 0; from < uuids.length; from += PAGE) keep(await ask({ uuids: uuids.slice(from, from + PAGE) }))
    return found
  }
  for await (const page of pages(
    (after) => ask({ host, ...after }),
    ({ uuid }) => uuid,
  ))
    keep(page)
  return found
}
