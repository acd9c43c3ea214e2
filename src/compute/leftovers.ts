import type { RequestContext } from '../rpc/request-context.ts'
import type { ComputePorts } from './compute-ports.ts'
import { untilDone } from './patience.ts'

/**
 * Removes whatever the host has of an instance: guest first, then its disks. Tries until the host lets it: a guest
 * that cannot be removed keeps its claim, and nobody is told that it is gone. What was set aside goes, too, unless it is what the guest is to be
 * built from. What was only expected here, and comes meanwhile, goes as well: without disks none can come.
 *
 * @param context of the request that wants it gone, or had it made; for the log
 * @throws the signal's reason
 */
export async function removeLeftovers(
  uuid: string,
  context: RequestContext | undefined,
  ports: ComputePorts,
  stopping: AbortSignal,
  keepsDisksAside = false,
): Promise<void> {
  const { driver } = ports
  const options = { ...ports, request_id: context?.request_id }
  await untilDone(`destroy guest ${uuid}`, () => driver.destroy(uuid), options, stopping)
  await untilDone(`remove disks of ${uuid}`, () => driver.removeDisks(uuid), options, stopping)
  await untilDone(`destroy guest ${uuid}`, () => driver.destroy(uuid), options, stopping)
  if (keepsDisksAside) return
  await untilDone(`remove what ${uuid} has left`, () => driver.removeDisksAside(uuid), options, stopping)
}
