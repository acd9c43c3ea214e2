import { setTimeout as sleep } from 'node:timers/promises'
import { GuestNotFound, LibvirtError } from '../../errors.ts'
import type { Instance } from '../../objects/instance.ts'
import { shutdownTimeoutSeconds } from '../../objects/shutdown-timeout.ts'
import type { ComputePorts } from '../compute-ports.ts'

type Ports = Pick<ComputePorts, 'driver' | 'shutdown' | 'logger'>

/**
 * Its guest stays defined, with its disks, and is off.
 *
 * @throws GuestNotFound, or what the hypervisor refuses
 */
export async function powerOff(
  { uuid, image }: Pick<Instance, 'uuid' | 'image'>,
  { clean_shutdown }: { readonly clean_shutdown: boolean },
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const { driver } = ports
  const guest = await driver.guest(uuid, signal)
  if (guest === undefined) throw new GuestNotFound(`this host has no guest ${uuid}`, { instance_uuid: uuid })
  if (clean_shutdown && guest.state === 'running') await shutDown(uuid, shutdownTimeoutSeconds(image), ports, signal)
  signal.throwIfAborted()
  await driver.powerOff(uuid)
}

/**
 * The guest of an earlier try, which is to be removed, writes out first what it has for its volumes. One that cannot be asked
 * loses its power with the rest.
 *
 * @throws the signal's reason
 */
export async function shutDownEarlier(
  instance: Pick<Instance, 'uuid' | 'image'>,
  ports: Ports,
  signal: AbortSignal,
): Promise<void> {
  const { uuid } = instance
  try {
    const guest = await ports.driver.guest(uuid, signal)
    if (guest?.state === 'running') await powerOff(instance, { clean_shutdown: true }, ports, signal)
  } catch (err) {
    signal.throwIfAborted()
    ports.logger.warn({ instance_uuid: uuid, err }, 'the earlier guest was not shut down: it is removed as it is')
  }
}

/** Returns when the guest is off, or has not followed for as long as it may take. */
async function shutDown(
  uuid: string,
  ofImage: number | undefined,
  { driver, shutdown, logger }: Ports,
  signal: AbortSignal,
): Promise<void> {
  const { askAgainMs, lookMs } = shutdown
  const timeoutMs = ofImage === undefined ? shutdown.timeoutMs : ofImage * 1000
  const begun = performance.now()
  for (let asked = 0; performance.now() - begun < timeoutMs; ) {
    if (performance.now() - begun >= asked * askAgainMs) {
      asked++
      const refusal = await ask()
      if (refusal !== undefined) {
        logger.warn({ instance_uuid: uuid, code: refusal.code }, `not asked to shut down: ${refusal.message}`)
        return
      }
    }
    await sleep(lookMs, undefined, { signal }).catch(() => signal.throwIfAborted())
    if ((await driver.guest(uuid, signal))?.state !== 'running') return
  }
  logger.info({ instance_uuid: uuid, timeoutMs }, 'the guest did not shut down in time: its power is taken')

  async function ask(): Promise<LibvirtError | undefined> {
    try {
      await driver.shutdown(uuid, signal)
    } catch (error) {
      if (error instanceof LibvirtError) return error
      throw error
    }
  }
}
