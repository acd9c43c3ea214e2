import { SevbusError, SpawnFailed } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { refuseOtherClaim } from './claim-check.ts'
import type { ComputePorts } from './compute-ports.ts'
import { diskContents } from './disks/disk-contents.ts'
import type { Build } from './journal/state.ts'
import { buildDomain } from './libvirt/build-domain.ts'
import { guestSpec } from './libvirt/guest-spec.ts'
import { limitSlots } from './libvirt/slot-limits.ts'
import { proveEncryption } from './prove-encryption.ts'
import { Rollback, type UndoFailure } from './rollback.ts'

type BootedBuild = Pick<Build, 'instance' | 'allocations' | 'user_data' | 'disks' | 'power_on'>

/**
 * A boot goes by what the host said of itself a while ago, as its claim did: each report asks it anew. Where that is not true any
 * more, its start is refused.
 */
const KNOWN_MS = 60_000

/**
 * Boots the guest, or throws having left nothing behind, except for what `onUndoFailed` heard of.
 *
 * @throws a SevbusError, or the signal's reason
 */
export async function bootGuest(
  { instance, allocations, user_data, disks, power_on = true }: BootedBuild,
  ports: Pick<ComputePorts, 'host' | 'driver' | 'domainOptions' | 'slotLimits' | 'proven' | 'logger' | 'retryDelaysMs'>,
  signal: AbortSignal,
  onUndoFailed: (failure: UndoFailure) => void,
): Promise<void> {
  const { host, driver, domainOptions, slotLimits } = ports
  await using rollback = new Rollback(onUndoFailed)
  try {
    refuseOtherClaim(instance, allocations, host)
    // What is not offered is not built, and what an operator's number alone offers is.
    const { capabilities } = limitSlots(await driver.capabilities(signal, KNOWN_MS), slotLimits)
    const domain = buildDomain(guestSpec(instance, domainOptions), capabilities)

    const contents = diskContents(instance, domain, user_data)
    const createDisks = (given: AbortSignal) => driver.createDisks(domain, contents, given)
    rollback.add('remove disks', () => driver.removeDisks(instance.uuid))
    if (disks !== undefined) await driver.takeDisks(domain, disks, contents, signal)

    rollback.add('destroy guest', () => driver.destroy(instance.uuid))
    // One that stays off proves its encryption when it is started, whatever the guest before it was.
    ports.proven.forget(instance.uuid)
    if (power_on) {
      await meanwhile(createDisks, (either, made) => driver.spawn(domain, either, made), signal)
      await proveEncryption(instance.uuid, instance.mem_encryption, ports, signal)
    } else {
      await createDisks(signal)
      await driver.define(domain, signal)
    }
    signal.throwIfAborted()
    rollback.commit()
  } catch (error) {
    signal.throwIfAborted()
    throw asBuildError(error, instance)
  }
}

/**
 * Two steps at a time, the second of which waits for the first before it goes too far. What fails first ends the other, too; when
 * this ends neither is under way any more, so that both can be undone.
 *
 * @throws what has failed first, or the signal's reason
 */
async function meanwhile(
  first: (signal: AbortSignal) => Promise<void>,
  second: (signal: AbortSignal, firstDone: Promise<void>) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const giveUp = new AbortController()
  const either = AbortSignal.any([signal, giveUp.signal])
  const orGiveUp = async (step: Promise<void>) => {
    try {
      await step
    } catch (error) {
      giveUp.abort(error)
      throw error
    }
  }
  const firstDone = orGiveUp(first(either))
  await Promise.allSettled([firstDone, orGiveUp(second(either, firstDone))])
  either.throwIfAborted()
}

/** A foreign error is the host's (a full disk, a lost socket): another host may do. */
export function asBuildError(error: unknown, { uuid }: Instance): SevbusError {
  if (error instanceof SevbusError) return error
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) }
  return new SpawnFailed(`${name}: ${message}`, { instance_uuid: uuid }, { cause: error })
}
