import type { ComputePorts } from '../compute-ports.ts'
import type { Action } from '../journal/state.ts'
import { powerOff } from './power-off.ts'
import { powerOn } from './power-on.ts'

/**
 * Off and on, for every guest: processors of SEV-ES and SEV-SNP cannot be reset, and nobody can tell from outside whether a
 * guest has followed. That it is off is written down, so that a guest is not taken down twice when the worker dies between.
 *
 * @throws what a start throws
 */
export async function reboot(
  { instance, number, isOff }: Action,
  reboot_type: 'SOFT' | 'HARD',
  ports: ComputePorts,
  signal: AbortSignal,
): Promise<void> {
  const { driver, journal } = ports
  const { uuid } = instance
  if (!isOff) {
    const guest = await driver.guest(uuid, signal)
    if (guest !== undefined) await powerOff(instance, { clean_shutdown: reboot_type === 'SOFT' }, ports, signal)
    await journal.append([{ type: 'action_powered_off', uuid, number }])
  }
  await powerOn(instance, ports, signal)
}
