import { setTimeout as sleep } from 'node:timers/promises'
import { DeviceDetachFailed } from '../../errors.ts'
import type { ComputePorts } from '../compute-ports.ts'
import type { DomainSpec } from '../libvirt/domain-spec.ts'
import { isPlugged, type PluggedDevice } from '../libvirt/plugged-device.ts'
import { Rollback } from '../rollback.ts'

type Ports = Pick<ComputePorts, 'driver' | 'unplug' | 'logger'>

/** A device, and the guest's document before and after it is plugged in, or out. */
export interface Change {
  readonly before: DomainSpec
  readonly after: DomainSpec
  readonly device: PluggedDevice
}

/** Plugs the device in, or leaves the guest as it was. @throws VolumeAttachFailed, InterfaceAttachFailed, GuestNotFound */
export async function plug({ before, after, device }: Change, ports: Ports, signal: AbortSignal): Promise<void> {
  const { driver } = ports
  await using rollback = rollbackOf(before, ports)
  // Whatever it was that took over, it finds a guest whose document says what it has.
  rollback.add('take the device out', () => driver.detach(before, device, NEVER))
  await driver.attach(after, device, signal)
  signal.throwIfAborted()
  rollback.commit()
}

/** Returns when the guest has let the device go, or puts it back for the next start. @throws DeviceDetachFailed, GuestNotFound */
export async function unplug({ before, after, device }: Change, ports: Ports, signal: AbortSignal): Promise<void> {
  const { driver, unplug: patience } = ports
  await using rollback = rollbackOf(before, ports)
  rollback.add('put the device back', () => driver.attach(before, device, NEVER))
  const begun = performance.now()
  for (let asked = 0; performance.now() - begun < patience.timeoutMs; ) {
    if (performance.now() - begun >= asked * patience.askAgainMs) {
      asked++
      await driver.detach(after, device, signal)
    }
    if (!isPlugged(await driver.domainXml(before.uuid, signal), device)) {
      signal.throwIfAborted()
      return rollback.commit()
    }
    await sleep(patience.lookMs, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
  throw notLetGo(before.uuid, device, patience.timeoutMs)
}

const NEVER = new AbortController().signal

function rollbackOf({ uuid }: DomainSpec, { logger }: Ports): Rollback {
  return new Rollback(({ step, error }) =>
    logger.error({ instance_uuid: uuid, step, err: error }, 'undo failed; the next start of the guest puts it right'),
  )
}

function notLetGo(uuid: string, device: PluggedDevice, timeoutMs: number): DeviceDetachFailed {
  const name = device.kind === 'disk' ? `disk ${device.disk.target}` : `interface ${device.interface.mac}`
  const fix = 'stop the instance, detach it then, and start it'
  return new DeviceDetachFailed(
    `the guest ${uuid} has not let go of its ${name} in ${timeoutMs / 1000} s: has it an operating system, and is that done with it? ${fix}`,
    { instance_uuid: uuid, device: name, fix },
  )
}
