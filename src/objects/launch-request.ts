import { InvalidProperty, type SevbusError, toSevbusError } from '../errors.ts'
import { refuseIdeOnQ35, refuseImpossibleDevices } from './device-choices.ts'
import { refuseIsoImage } from './disk-format.ts'
import { refuseDirectKernelBoot, refuseSecureBoot, refuseStatelessBios } from './firmware-request.ts'
import type { Flavor } from './flavor.ts'
import { refuseHostDevicesInClear } from './host-devices.ts'
import type { ImageMeta } from './image-meta.ts'
import { refuseTooSmallFlavor } from './image-minimums.ts'
import { collectInto, type Judge, strict } from './judge.ts'
import type { MemEncryption } from './mem-encryption.ts'
import { memEncryptionRequest } from './mem-encryption-request.ts'
import { type MemoryBacking, memoryBacking } from './memory-backing.ts'
import { refuseUncountedResources } from './placement-specs.ts'
import { refuseContradictingTraits } from './requested-traits.ts'
import { requestedRng } from './rng-request.ts'
import { shutdownTimeoutSeconds } from './shutdown-timeout.ts'

/** One way to run the guest. */
export interface LaunchChoice {
  /** Undefined: in clear. */
  readonly encryption: MemEncryption | undefined
  readonly memoryBacking: MemoryBacking
}

/** All that flavor and image decide together about a launch. */
export interface LaunchRequest {
  /** Each of them will do, the best first: more than one when several models are named. */
  readonly choices: readonly [LaunchChoice, ...LaunchChoice[]]
}

/**
 * The one door for flavor and image: conductor, host and command line ask here, and so refuse alike. Sizes are judged
 * first and then encryption, as in Nova.
 *
 * @throws FlavorMemoryTooSmall, FlavorDiskTooSmall, FlavorImageConflict, InvalidMachineType, StatelessFirmwareRequired,
 *   InvalidProperty, MemoryPageSizeInvalid, MemoryPageSizeForbidden, FlavorImageLockedMemoryConflict,
 *   LockMemoryForbidden, SecureBootNotSupported
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
  refuseTooSmallFlavor(flavor, image, judge)
  const [best, ...others] = memEncryptionRequest(flavor, image, judge)
  refuseUncountedResources(flavor, image, best, judge)
  refuseContradictingTraits(flavor, image, judge)
  judge(() => refuseStatelessBios(image))
  refuseSecureBoot(flavor, image, judge)
  refuseDirectKernelBoot(image, judge)
  judge(() => refuseIsoImage(image))
  const choice = (encryption: MemEncryption | undefined): LaunchChoice => ({
    encryption,
    memoryBacking: memoryBacking(flavor, image, encryption, judge),
  })
  const choices: LaunchRequest['choices'] = [choice(best), ...others.map(choice)]
  refuseImpossibleDevices(image, judge)
  if (best === undefined) {
    refuseIdeOnQ35(image, judge)
    refuseHostDevicesInClear(flavor, judge)
  }
  requestedRng(flavor, judge)
  judge(() => shutdownTimeoutSeconds(image))
  return { choices }
}

/**
 * Asks once more, wherever a decision has travelled: a message that lost its `mem_encryption` on the way, that names a
 * model which nobody asked for, or that carries another policy than its model has, must not start a guest that is weaker
 * than what was ordered.
 *
 * @returns the choice that was made
 * @throws InvalidProperty when the decision is none of those that flavor and image ask for
 */
export function refuseDisagreement({ choices }: LaunchRequest, decided: MemEncryption | null): LaunchChoice {
  const made = choices.find(({ encryption: asked }) => asked?.model === decided?.model)
  if (made !== undefined && made.encryption?.policy === decided?.policy) return made
  const found = inWords(decided ?? undefined)
  const expected = choices.map(({ encryption }) => inWords(encryption)).join(' or ')
  throw new InvalidProperty(
    `the instance carries mem_encryption ${found}, but its flavor and image ask for ${expected}; it is not started`,
    { property: 'mem_encryption', value: found, expected, fix: 'create the instance anew' },
  )
}

/**
 * What a guest may run with where it moves to: of the models that will do, none below the one that it runs with now.
 *
 * @throws InvalidProperty when that is none that flavor and image ask for
 */
export function requestOfMove(request: LaunchRequest, running: MemEncryption | null): LaunchRequest {
  const now = refuseDisagreement(request, running)
  const [best, ...others] = request.choices
  return { choices: [best, ...others.slice(0, request.choices.indexOf(now))] }
}

function inWords(encryption: MemEncryption | undefined): string {
  return encryption === undefined ? 'nothing' : `${encryption.model} with policy ${encryption.policy}`
}
