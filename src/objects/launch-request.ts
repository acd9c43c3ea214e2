import { InvalidProperty, type SevbusError, toSevbusError } from '../errors.ts'
import { refuseIdeOnQ35, refuseImpossibleDevices } from './device-choices.ts'
import { refuseIsoImage } from './disk-format.ts'
import { refuseDirectKernelBoot, refuseSecureBoot, refuseStatelessBios } from './firmware-request.ts'
import type { Flavor } from './flavor.ts'
import type { ImageMeta } from './image-meta.ts'
import { collectInto, type Judge, strict } from './judge.ts'
import { MEM_ENCRYPTION_MODELS, type MemEncryption, policyHex } from './mem-encryption.ts'
import { memEncryptionRequest } from './mem-encryption-request.ts'
import { type MemoryBacking, memoryBacking } from './memory-backing.ts'
import { refuseUncountedResources } from './placement-specs.ts'
import { refuseContradictingTraits } from './requested-traits.ts'
import { requestedRng } from './rng-request.ts'

/** All that flavor and image decide together about a launch. */
export interface LaunchRequest {
  /** Undefined: the guest runs in clear. */
  readonly encryption: MemEncryption | undefined
  readonly memoryBacking: MemoryBacking
}

/**
 * The one door for flavor and image: conductor, host and command line ask here, and so refuse alike. Encryption is
 * judged first, as in Nova.
 *
 * @throws FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired, InvalidProperty, MemoryPageSizeInvalid,
 *   MemoryPageSizeForbidden, FlavorImageLockedMemoryConflict, LockMemoryForbidden, SecureBootNotSupported
 */
export function launchRequest(flavor: Flavor, image: ImageMeta): LaunchRequest {
  return judged(flavor, image, strict)
}

/** All that `launchRequest` would refuse, its first refusal first; the same thing found by two rules is told once. */
export function launchProblems(flavor: Flavor, image: ImageMeta): readonly SevbusError[] {
  const refusals: unknown[] = []
  judged(flavor, image, collectInto(refusals))
  return [...new Map(refusals.map(toSevbusError).map((problem) => [problem.message, problem])).values()]
}

function judged(flavor: Flavor, image: ImageMeta, judge: Judge): LaunchRequest {
  const encryption = memEncryptionRequest(flavor, image, judge)
  refuseUncountedResources(flavor, image, encryption, judge)
  refuseContradictingTraits(flavor, image, judge)
  judge(() => refuseStatelessBios(image))
  refuseSecureBoot(flavor, image, judge)
  refuseDirectKernelBoot(image, judge)
  judge(() => refuseIsoImage(image))
  const request = { encryption, memoryBacking: memoryBacking(flavor, image, encryption, judge) }
  refuseImpossibleDevices(image, judge)
  if (encryption === undefined) refuseIdeOnQ35(image, judge)
  requestedRng(flavor, judge)
  return request
}

/**
 * Asks once more, wherever a decision has travelled: a message that lost its `mem_encryption` on the way, or that
 * carries another policy than its model has, must not start a guest that is weaker than what was ordered.
 *
 * @throws InvalidProperty when the decision is not what flavor and image ask for
 */
export function refuseDisagreement({ encryption: asked }: LaunchRequest, decided: MemEncryption | null): void {
  const policy = decided === null ? undefined : policyHex(MEM_ENCRYPTION_MODELS[decided.model])
  if (asked?.model === decided?.model && policy === decided?.policy) return
  const found = decided === null ? 'nothing' : `${decided.model} with policy ${decided.policy}`
  const expected = asked === undefined ? 'nothing' : `${asked.model} with policy ${asked.policy}`
  throw new InvalidProperty(
    `the instance carries mem_encryption ${found}, but its flavor and image ask for ${expected}; it is not started`,
    { property: 'mem_encryption', value: found, expected, fix: 'create the instance anew' },
  )
}
