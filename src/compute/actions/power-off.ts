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
