import { ConductorApi } from '../../conductor/rpc-api.ts'
import type { InstanceState } from '../../objects/instance.ts'
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
  const ask = async (query: object) => {
    const { instances } = await conductor.listInstanceStates(context, { limit: PAGE, ...query }, { signal })
    // A conductor that does not tell the number could not take a report either.
    found.push(...instances.filter((instance): instance is Belief => instance.last_action !== undefined))
    return instances
  }
  if (uuids !== undefined) {
    for (let from = 0; from < uuids.length; from += PAGE) await ask({ uuids: uuids.slice(from, from + PAGE) })
    return found
  }
  for (let marker: string | undefined; ; ) {
    marker = (await ask({ host, ...(marker !== undefined && { marker }) })).at(-1)?.uuid
    if (marker === undefined) return found
  }
}
