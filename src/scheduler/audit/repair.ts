import { ComputeApi } from '../../compute/rpc-api.ts'
import { ConductorApi } from '../../conductor/rpc-api.ts'
import { InstanceNotFound, toSevbusError } from '../../errors.ts'
import type { Instance } from '../../objects/instance.ts'
import type { RpcClient } from '../../rpc/client.ts'
import type { RequestInfo } from '../../rpc/contract.ts'
import { SchedulerApi } from '../rpc-api.ts'
import type { Finding } from './finding.ts'
import type { Observation } from './observation.ts'
import type { ObservePorts } from './observe.ts'
import { nameHost } from './tables.ts'

/**
 * Asks whoever owns the thing to set it right. The instance is looked at once more before: what was found out may have
 * been overtaken since.
 *
 * @returns why it was not asked; undefined: it was. Whether it helped is seen by the next look.
 */
export async function repair(
  { client, database }: ObservePorts,
  finding: Finding,
  { context, signal }: RequestInfo,
): Promise<string | undefined> {
  const { repair: wanted } = finding
  if (wanted === undefined) return 'no repair is safe'
  try {
    const instance = await currentInstance(client, finding, { context, signal })
    if (instance === 'changed') return 'the instance has changed since it was looked at: audit again'
    switch (wanted.action) {
      case 'release_allocations': {
        await nameHost(database, wanted.consumer, finding.host)
        const args = { instance_uuid: wanted.consumer, attempt: Math.max(1, wanted.attempt) }
        await client.of(SchedulerApi).releaseAllocations(context, args, { signal })
        return undefined
      }
      case 'confirm_move': {
        const args = { instance_uuid: finding.uuid ?? '', migration: wanted.migration }
        await client.of(SchedulerApi).confirmMove(context, args, { signal })
        return undefined
      }
      case 'terminate_instance': {
        if (instance === undefined) return 'no conductor knows the instance'
        const { host, attempt } = wanted
        const args = { instance: { ...instance, host, attempt }, void: true }
        await client.of(ComputeApi).terminateInstance(context, args, { server: host, signal })
        return undefined
      }
      case 'remove_stray_disks': {
        const args = { instance_uuid: finding.uuid ?? '' }
        await client.of(ComputeApi).removeStrayDisks(context, args, { server: wanted.host, signal })
        return undefined
      }
      default:
        return wanted satisfies never
    }
  } catch (thrown) {
    signal.throwIfAborted()
    return toSevbusError(thrown).message
  }
}

async function currentInstance(
  client: Pick<RpcClient, 'of'>,
  { uuid, instance: found }: Finding,
  { context, signal }: RequestInfo,
): Promise<Instance | undefined | 'changed'> {
  try {
    const args = { instance_uuid: uuid ?? '' }
    const { instance } = await client.of(ConductorApi).getInstance(context, args, { signal })
    const isSame = instance.updated_at === found?.updated_at && instance.attempt === found.attempt
    return isSame ? instance : 'changed'
  } catch (error) {
    if (error instanceof InstanceNotFound) return found === undefined ? undefined : 'changed'
    throw error
  }
}

/** Is what the repair was to remove gone? A host that does not answer now leaves it open. */
export function isMended({ host, uuid, repair: done }: Finding, { hosts, claims }: Observation): boolean {
  if (done?.action === 'release_allocations' || done?.action === 'confirm_move') {
    return !claims.some((claim) => claim.consumer === done.consumer && claim.host === host)
  }
  const look = hosts.get(host)
  if (look?.answered !== true) return false
  if (done?.action === 'remove_stray_disks') return !look.disks?.some((disk) => disk.uuid === uuid)
  return !look.guests.some((guest) => guest.uuid.toLowerCase() === uuid)
}
