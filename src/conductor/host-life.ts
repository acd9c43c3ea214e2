import type { HostSummary } from '../objects/host-report.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import type { ConductorPorts } from './ports.ts'

/** A host as schedulers see it now; undefined when none of that name has reported. */
export async function hostOf(
  { scheduler }: Pick<ConductorPorts, 'scheduler'>,
  context: RequestContext,
  host: string,
  signal: AbortSignal,
): Promise<HostSummary | undefined> {
  const { hosts } = await scheduler.listHosts(context, { hosts: [host] }, { signal })
  return hosts.find((each) => each.host === host)
}
