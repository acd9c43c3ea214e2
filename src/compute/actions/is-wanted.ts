import { ConductorApi } from '../../conductor/rpc-api.ts'
import { UnsupportedVersion } from '../../errors.ts'
import type { ComputePorts } from '../compute-ports.ts'
import type { Action } from '../journal/state.ts'
import { untilDone } from '../patience.ts'

type Asked = Pick<Action, 'instance' | 'number' | 'context'>

/** Asks the conductor until it answers. One that is too old to know is obeyed. @throws the signal's reason */
export async function isWanted(
  { instance, number, context }: Asked,
  ports: Pick<ComputePorts, 'host' | 'client' | 'logger' | 'retryDelaysMs'>,
  signal: AbortSignal,
): Promise<boolean> {
  const { uuid: instance_uuid, attempt } = instance
  const args = { instance_uuid, attempt, host: ports.host, number }
  const conductor = ports.client.of(ConductorApi)
  const ask = async () => {
    try {
      return (await conductor.checkAction(context, args, { signal })).wanted
    } catch (error) {
      if (error instanceof UnsupportedVersion) return true
      throw error
    }
  }
  const options = { ...ports, request_id: context.request_id }
  return untilDone(`ask the conductor about ${instance_uuid}`, ask, options, signal)
}
