import { ConductorApi } from '../conductor/rpc-api.ts'
import type { Instance } from '../objects/instance.ts'
import { type PageAfter, pages } from '../rpc/page.ts'
import { newRequestContext, type RequestContext } from '../rpc/request-context.ts'
import type { ComputePorts } from './compute-ports.ts'
import { untilDone } from './patience.ts'

export interface Departure {
  readonly migration_uuid: string
  /** As this host knows it. */
  readonly instance: Instance
  readonly context: RequestContext
}

/**
 * Instances that were brought elsewhere while this host did not answer. Their guests may be here still, and must not run.
 *
 * @throws the signal's reason
 */
export async function* departures(ports: ComputePorts, signal: AbortSignal): AsyncGenerator<Departure> {
  const { host, client } = ports
  const context = newRequestContext()
  const conductor = client.of(ConductorApi)
  const options = { ...ports, request_id: context.request_id }
  const page = (after: PageAfter) => {
    const ask = async () => (await conductor.listDepartures(context, { host, ...after }, { signal })).departures
    return untilDone('ask the conductor what was evacuated from here', ask, options, signal)
  }
  for await (const some of pages(page, ({ migration_uuid }) => migration_uuid))
    for (const departure of some) yield { ...departure, context }
}
