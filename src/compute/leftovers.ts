import type { ComputePorts } from './compute-ports.ts'
import { untilDone } from './patience.ts'

/**
 * Removes whatever the host has of an instance: guest first, then its disks. Tries until the host lets it: a guest
 * that cannot be removed keeps its claim, and nobody is told that it is gone.
 *
 * @throws the signal's reason
 */
export async function removeLeftovers(uuid: string, ports: ComputePorts, stopping: AbortSignal): Promise<void> {
  const { driver } = ports
  await untilDone(`destroy guest ${uuid}`, () => driver.destroy(uuid), ports, stopping)
  await untilDone(`remove disks of ${uuid}`, () => driver.removeDisks(uuid), ports, stopping)
}
