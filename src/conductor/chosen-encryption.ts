import { InvalidProperty } from '../errors.ts'
import type { Instance } from '../objects/instance.ts'
import { launchRequest, refuseDisagreement, requestOfMove } from '../objects/launch-request.ts'
import type { MemEncryption } from '../objects/mem-encryption.ts'
import type { Selection } from '../objects/request-spec.ts'
import type { InstanceRecord } from './instance-store.ts'
import { leastOf } from './request-spec.ts'

/**
 * What the instance will run with: the scheduler's answer, if it is among what flavor and image ask for, and no less than
 * what it had where it comes from.
 *
 * @throws InvalidProperty
 */
export function chosenEncryption(
  { flavor, image }: Instance,
  selection: Selection,
  { move, shelving }: Pick<InstanceRecord, 'move' | 'shelving'> = {},
): MemEncryption | null {
  const asked = launchRequest(move?.new_flavor ?? flavor, move?.new_image ?? image)
  // Another flavor is another order; else it is no less than what it had.
  const least = shelving ? shelving.mem_encryption : move && leastOf(move)
  const request = least !== undefined && !move?.new_flavor ? requestOfMove(asked, least) : asked
  const { choices } = request
  if (selection.mem_encryption !== undefined) {
    return refuseDisagreement(request, selection.mem_encryption).encryption ?? null
  }
  if (choices.length === 1) return choices[0].encryption ?? null
  throw new InvalidProperty(
    `the scheduler does not say which of ${choices.map(({ encryption }) => encryption?.model).join(', ')} has the slot on ${selection.host}; the instance is not started`,
    { property: 'mem_encryption', host: selection.host, fix: 'run schedulers of this release everywhere' },
  )
}
