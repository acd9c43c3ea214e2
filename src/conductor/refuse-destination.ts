import { ComputeHostNotFound, InvalidArguments } from '../errors.ts'
import type { RequestContext } from '../rpc/request-context.ts'
import { hostOf } from './host-life.ts'
import type { ConductorPorts } from './ports.ts'

export interface AskedDestination {
  readonly source: string
  readonly asked: string
  /** A resize may be allowed to stay where it is. */
  readonly isResize?: boolean
}

/** @throws InvalidArguments when it is the host that the instance is to leave, ComputeHostNotFound */
export async function refuseDestination(
  ports: ConductorPorts,
  context: RequestContext,
  { source, asked, isResize = false }: AskedDestination,
  signal: AbortSignal,
): Promise<void> {
  if (asked === source && !(isResize && ports.allowResizeToSameHost)) {
    const fix = 'name another host, or none'
    throw new InvalidArguments(`host ${asked} is the one that the instance is to leave; ${fix}`, {
      field: 'host',
      value: asked,
      fix,
    })
  }
  if ((await hostOf(ports, context, asked, signal)) !== undefined) return
  throw new ComputeHostNotFound(`no host ${asked} has reported`, {
    host: asked,
    fix: 'see their names with: sevbus hosts',
  })
}
